"""Volumes of a pod, and where its containers mount them: https://kubernetes.io/docs/concepts/storage/volumes/"""

import os.path
from collections.abc import Callable, Mapping
from typing import Any

from api import names, quantities
from api.paths import Path, duplicate, forbidden, invalid, not_found, not_supported, required
from api.types import (
    ConfigMapVolumeSource,
    Container,
    DownwardAPIVolumeFile,
    EphemeralContainer,
    KeyToPath,
    ProjectedVolumeSource,
    SecretVolumeSource,
    Volume,
    VolumeMount,
    VolumeProjection,
)  # fmt: skip
from apiserver.rules.validation import environments
from apiserver.rules.validation.values import Faults, descending, formed, local, no_backsteps, one_of, optional

Volumes = Mapping[str, Volume]
MODE_FAULT = "must be a number between 0 and 0777 (octal), both inclusive"
PULL_POLICIES = {"Always", "IfNotPresent", "Never"}
HOST_PATH_TYPES = {
    "", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice",
}  # fmt: skip
PROPAGATIONS = {"Bidirectional", "HostToContainer", "None"}
RECURSIVE = {"Disabled", "Enabled", "IfPossible"}


def volumes(path: Path, its: list[Volume], pod_name: str, good: dict[str, Volume]) -> Faults:
    """Puts the volumes without faults into `good` by name: only these can be mounted.

    `pod_name` is "" in a template.
    """
    made = {f"{pod_name}-{v.name}" for v in its if v.ephemeral is not None} if pod_name else set()
    for i, it in enumerate(its):
        at = path.index(i)
        faults = list(_source(at, it, pod_name))
        if not it.name:
            faults.append(required(at.child("name")))
        else:
            faults += formed(at.child("name"), it.name, names.dns_label_faults)
        if it.name in good:
            faults.append(duplicate(at.child("name"), it.name))
        if not faults:
            good[it.name] = it
        yield from faults
        claim = it.persistentVolumeClaim
        if claim is not None and claim.claimName in made:
            why = "must not reference a PVC that gets created for an ephemeral volume"
            yield invalid(at.child("persistentVolumeClaim", "claimName"), claim.claimName, why)


def _source(path: Path, it: Volume, pod_name: str) -> Faults:
    found = False
    for name, rule in SOURCES.items():
        source = getattr(it, name)
        if source is None:
            continue
        if found:
            yield forbidden(path.child(name), "may not specify more than 1 volume type")
            continue
        found = True
        if rule is not None:
            yield from rule(path.child(name), source)
    if it.image is not None and pod_name and not it.image.reference:
        yield required(path.child("image", "reference"))
    if not found:
        yield required(path, "must specify a volume type")


def _needs(*fields: str) -> Callable[[Path, Any], Faults]:
    def rule(path: Path, it: Any) -> Faults:
        for field in fields:
            if not getattr(it, field):
                yield required(path.child(field))

    return rule


def _empty_dir(path: Path, it: Any) -> Faults:
    if it.sizeLimit and quantities.parse(it.sizeLimit) < 0:
        yield forbidden(path.child("sizeLimit"), "SizeLimit field must be a valid resource quantity")


def _host_path(path: Path, it: Any) -> Faults:
    if not it.path:
        yield required(path.child("path"))
        return
    yield from no_backsteps(path.child("path"), it.path)
    yield from optional(path.child("type"), it.type, HOST_PATH_TYPES)


def _nfs(path: Path, it: Any) -> Faults:
    yield from _needs("server", "path")(path, it)
    if not os.path.isabs(it.path or ""):
        yield invalid(path.child("path"), it.path or "", "must be an absolute path")


def _secret(path: Path, it: SecretVolumeSource) -> Faults:
    if not it.secretName:
        yield required(path.child("secretName"))
    yield from _files(path, it.defaultMode, it.items)


def _config_map(path: Path, it: ConfigMapVolumeSource) -> Faults:
    if not it.name:
        yield required(path.child("name"))
    yield from _files(path, it.defaultMode, it.items)


def _files(path: Path, mode: int | None, items: list[KeyToPath]) -> Faults:
    yield from _mode(path.child("defaultMode"), mode)
    for i, item in enumerate(items):
        yield from _key_to_path(path.child("items").index(i), item)


def _mode(path: Path, mode: int | None) -> Faults:
    if mode is not None and not 0 <= mode <= 0o777:
        yield invalid(path, mode, MODE_FAULT)


def _key_to_path(path: Path, it: KeyToPath) -> Faults:
    if not it.key:
        yield required(path.child("key"))
    if not it.path:
        yield required(path.child("path"))
    yield from local(path.child("path"), it.path or "")
    yield from _mode(path.child("mode"), it.mode)


def _downward(path: Path, it: Any) -> Faults:
    yield from _mode(path.child("defaultMode"), it.defaultMode)
    for file in it.items:
        yield from _downward_file(path, file)


def _downward_file(path: Path, it: DownwardAPIVolumeFile) -> Faults:
    if not it.path:
        yield required(path.child("path"))
    yield from local(path.child("path"), it.path or "")
    if it.fieldRef is not None:
        yield from environments.field(path.child("fieldRef"), it.fieldRef, environments.IN_VOLUMES)
        if it.resourceFieldRef is not None:
            yield invalid(path, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously")
    elif it.resourceFieldRef is not None:
        yield from environments.resource_field(path.child("resourceFieldRef"), it.resourceFieldRef, in_volume=True)
    else:
        yield required(path, "one of fieldRef and resourceFieldRef is required")
    yield from _mode(path.child("mode"), it.mode)


def _projected(path: Path, it: ProjectedVolumeSource) -> Faults:
    yield from _mode(path.child("defaultMode"), it.defaultMode)
    seen: set[str] = set()
    for i, part in enumerate(it.sources):
        at = path.child("sources").index(i)
        yield from _projection(path, at, part)
        for owner, name in _paths_in(part):
            if name in seen:
                yield invalid(path, owner or name, "conflicting duplicate paths")
            seen.add(name)
        if sum(getattr(part, name) is not None for name in part.__struct_fields__) > 1:
            yield forbidden(at, "may not specify more than 1 volume type per source")


def _projection(path: Path, at: Path, it: VolumeProjection) -> Faults:
    for name in ("secret", "configMap"):
        source = getattr(it, name)
        if source is None:
            continue
        if not source.name:
            yield required(at.child(name, "name"))
        for i, item in enumerate(source.items):
            yield from _key_to_path(at.child(name, "items").index(i), item)
    if it.downwardAPI is not None:
        for file in it.downwardAPI.items:
            yield from _downward_file(at.child("downwardAPI"), file)
    token = it.serviceAccountToken
    if token is not None:
        seconds = token.expirationSeconds or 0
        expiry = at.child("serviceAccountToken", "expirationSeconds")
        if seconds < 600:
            yield invalid(expiry, seconds, "may not specify a duration less than 10 minutes")
        if seconds > 2**32:
            yield invalid(expiry, seconds, "may not specify a duration larger than 2^32 seconds")
        if not token.path:
            yield required(path.child("path"))
        else:
            yield from local(path.child("path"), token.path)


def _paths_in(it: VolumeProjection) -> list[tuple[str, str]]:
    """Owner ("" where upstream names the path itself) and path of each file that is projected."""
    found = [(s.name, i.path) for s in (it.secret, it.configMap) if s is not None for i in s.items]
    found += [("", f.path) for f in it.downwardAPI.items] if it.downwardAPI is not None else []
    return [(owner, name) for owner, name in found if name]


def _image(path: Path, it: Any) -> Faults:
    yield from one_of(path.child("pullPolicy"), it.pullPolicy, PULL_POLICIES)


def _csi(path: Path, it: Any) -> Faults:
    if not it.driver:
        yield required(path.child("driver"))
    if it.nodePublishSecretRef is not None and not it.nodePublishSecretRef.name:
        yield required(path.child("nodePublishSecretRef", "name"))


def _ephemeral(path: Path, it: Any) -> Faults:
    if it.volumeClaimTemplate is None:
        yield required(path.child("volumeClaimTemplate"))


# In upstream's order. Those without a rule are drivers that upstream has removed, or that no node here has.
SOURCES: dict[str, Callable[[Path, Any], Faults] | None] = {
    "emptyDir": _empty_dir,
    "hostPath": _host_path,
    "gitRepo": _needs("repository"),
    "gcePersistentDisk": _needs("pdName"),
    "awsElasticBlockStore": _needs("volumeID"),
    "secret": _secret,
    "nfs": _nfs,
    "iscsi": _needs("targetPortal", "iqn"),
    "glusterfs": _needs("endpoints", "path"),
    "flocker": None,
    "persistentVolumeClaim": _needs("claimName"),
    "rbd": _needs("monitors", "image"),
    "cinder": _needs("volumeID"),
    "cephfs": _needs("monitors"),
    "quobyte": _needs("registry", "volume"),
    "downwardAPI": _downward,
    "fc": None,
    "flexVolume": _needs("driver"),
    "configMap": _config_map,
    "azureFile": _needs("secretName", "shareName"),
    "vsphereVolume": _needs("volumePath"),
    "photonPersistentDisk": _needs("pdID"),
    "portworxVolume": _needs("volumeID"),
    "azureDisk": _needs("diskName", "diskURI"),
    "storageos": None,
    "projected": _projected,
    "scaleIO": None,
    "csi": _csi,
    "ephemeral": _ephemeral,
    "image": _image,
}


def mounts(path: Path, container: Container | EphemeralContainer, available: Volumes) -> Faults:
    """`volumeMounts` of a container."""
    devices = {d.name: d.devicePath for d in container.volumeDevices}
    points: set[str] = set()
    for i, it in enumerate(container.volumeMounts):
        at = path.index(i)
        if not it.name:
            yield required(at.child("name"))
        if it.name not in available:
            yield not_found(at.child("name"), it.name or "")
        if not it.mountPath:
            yield required(at.child("mountPath"))
        if it.mountPath in points:
            yield invalid(at.child("mountPath"), it.mountPath, "must be unique")
        points.add(it.mountPath)
        if it.name in devices:
            yield invalid(at.child("name"), it.name, "must not already exist in volumeDevices")
        if it.mountPath in devices.values():
            yield invalid(at.child("mountPath"), it.mountPath, "must not already exist as a path in volumeDevices")
        yield from _sub_path(path, at, it)
        if it.mountPropagation:
            yield from _propagation(path.child("mountPropagation"), it.mountPropagation, container)
        if it.recursiveReadOnly:
            yield from _recursive(path.child("recursiveReadOnly"), it)


def _sub_path(path: Path, at: Path, it: VolumeMount) -> Faults:
    if it.subPath:
        yield from descending(path.child("subPath"), it.subPath)
    if it.subPathExpr:
        if it.subPath:
            yield invalid(at.child("subPathExpr"), it.subPathExpr, "subPathExpr and subPath are mutually exclusive")
        yield from descending(path.child("subPathExpr"), it.subPathExpr)


def _propagation(path: Path, value: str, container: Container | EphemeralContainer) -> Faults:
    if value not in PROPAGATIONS:
        yield not_supported(path, value, PROPAGATIONS)
    context = container.securityContext
    if value == "Bidirectional" and not (context is not None and context.privileged):
        yield forbidden(path, "Bidirectional mount propagation is available only to privileged containers")


def _recursive(path: Path, it: VolumeMount) -> Faults:
    if it.recursiveReadOnly not in RECURSIVE:
        yield not_supported(path, it.recursiveReadOnly, RECURSIVE)
    elif it.recursiveReadOnly != "Disabled":
        if not it.readOnly:
            yield forbidden(path, "may only be specified when readOnly is true")
        if it.mountPropagation not in ("", "None"):
            yield forbidden(path, "may only be specified when mountPropagation is None or not specified")


def devices(path: Path, container: Container | EphemeralContainer, available: Volumes) -> Faults:
    """`volumeDevices` of a container."""
    mounted = {m.name: m.mountPath for m in container.volumeMounts}
    paths: set[str] = set()
    seen: set[str] = set()
    for i, it in enumerate(container.volumeDevices):
        at = path.index(i)
        if not it.name:
            yield required(at.child("name"))
        if it.name in seen:
            yield invalid(at.child("name"), it.name, "must be unique")
        volume = available.get(it.name)
        if volume is None:
            yield not_found(at.child("name"), it.name or "")
        elif volume.persistentVolumeClaim is None and volume.ephemeral is None:
            why = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            yield invalid(at.child("name"), it.name, why)
        if not it.devicePath:
            yield required(at.child("devicePath"))
        if it.devicePath in paths:
            yield invalid(at.child("devicePath"), it.devicePath, "must be unique")
        if ".." in (it.devicePath or "").split("/"):
            yield invalid(at.child("devicePath"), it.devicePath, "can not contain backsteps ('..')")
        if it.name in mounted:
            yield invalid(at.child("name"), it.name, "must not already exist in volumeMounts")
        if it.devicePath in mounted.values():
            yield invalid(at.child("devicePath"), it.devicePath, "must not already exist as a path in volumeMounts")
        paths.add(it.devicePath)
        seen.add(it.name)
