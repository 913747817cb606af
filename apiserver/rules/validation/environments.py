"""Environment variables, and the fields of a pod that they and volumes can show."""

import re
from collections.abc import Mapping

from api import names, quantities
from api.paths import Path, invalid, not_found, not_supported, required, too_long
from api.types import EnvFromSource, EnvVar, FileKeySelector, ObjectFieldSelector, ResourceFieldSelector, Volume
from apiserver.rules.validation.values import Faults, descending, formed

IN_ENV = {
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP",
    "status.hostIPs", "status.podIP", "status.podIPs",
}  # fmt: skip
IN_VOLUMES = {"metadata.name", "metadata.namespace", "metadata.labels", "metadata.annotations", "metadata.uid"}
KNOWN = IN_ENV | IN_VOLUMES | {"spec.restartPolicy", "spec.schedulerName", "status.phase"}
RESOURCES = {
    f"{of}.{what}" for of in ("limits", "requests") for what in ("cpu", "memory", "ephemeral-storage")
}  # fmt: skip
HUGE = "requests.hugepages-", "limits.hugepages-"
SIZES = "1", *(f"1{s}" for s in ("k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"))
LONGEST_KEY = 128
SOURCES = "fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"


def variables(path: Path, env: list[EnvVar], volumes: Mapping[str, Volume]) -> Faults:
    for i, it in enumerate(env):
        at = path.index(i)
        if not it.name:
            yield required(at.child("name"))
        else:
            yield from formed(at.child("name"), it.name, names.env_name_faults)
        if it.valueFrom is not None:
            yield from _value_from(at.child("valueFrom"), it)
            if it.valueFrom.fileKeyRef is not None:
                yield from _file(at.child("valueFrom", "fileKeyRef"), it.valueFrom.fileKeyRef, volumes)


def _value_from(path: Path, it: EnvVar) -> Faults:
    source = it.valueFrom
    assert source is not None
    if source.fieldRef is not None:
        yield from field(path.child("fieldRef"), source.fieldRef, IN_ENV)
    if source.resourceFieldRef is not None:
        yield from resource_field(path.child("resourceFieldRef"), source.resourceFieldRef, in_volume=False)
    for name in ("configMapKeyRef", "secretKeyRef"):
        reference = getattr(source, name)
        if reference is None:
            continue
        yield from formed(path.child(name, "name"), reference.name, names.dns_subdomain_faults)
        if not reference.key:
            yield required(path.child(name, "key"))
        else:
            yield from formed(path.child(name, "key"), reference.key, names.config_key_faults)
    count = sum(getattr(source, name) is not None for name in SOURCES)
    if count == 0:
        why = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
        yield invalid(path, "", why)
    elif it.value:
        yield invalid(path, "", "may not be specified when `value` is not empty")
    elif count > 1:
        yield invalid(path, "", "may not have more than one field specified at a time")


def _file(path: Path, it: FileKeySelector, volumes: Mapping[str, Volume]) -> Faults:
    for name in ("volumeName", "path", "key"):
        if not getattr(it, name):
            yield required(path.child(name))
    if it.path:
        yield from descending(path.child("path"), it.path)
        if it.path.startswith(".."):
            yield invalid(path.child("path"), it.path, "must not start with '..'")
    if it.key:
        yield from formed(path.child("key"), it.key, names.env_name_faults)
        if len(it.key) > LONGEST_KEY:
            yield too_long(path.child("key"), LONGEST_KEY)
    if it.volumeName and (volume := volumes.get(it.volumeName)) is None:
        yield not_found(path.child("volumeName"), it.volumeName)
    elif it.volumeName and volume is not None and volume.emptyDir is None:
        yield invalid(path.child("volumeName"), it.volumeName, "referenced volume must be of type emptyDir")


def sources(path: Path, env_from: list[EnvFromSource]) -> Faults:
    for i, it in enumerate(env_from):
        at = path.index(i)
        if it.prefix:
            yield from formed(at.child("prefix"), it.prefix, names.env_name_faults)
        count = 0
        for name in ("configMapRef", "secretRef"):
            reference = getattr(it, name)
            if reference is None:
                continue
            count += 1
            if not reference.name:
                yield required(at.child(name, "name"))
            else:
                yield from formed(at.child(name, "name"), reference.name, names.dns_subdomain_faults)
        if count == 0:
            yield invalid(path, "", "must specify one of: `configMapRef` or `secretRef`")
        elif count > 1:
            yield invalid(path, "", "may not have more than one field specified at a time")


def field(path: Path, it: ObjectFieldSelector, allowed: set[str]) -> Faults:
    """A field of the pod, such as `metadata.labels['app']`."""
    if not it.apiVersion:
        yield required(path.child("apiVersion"))
        return
    if not it.fieldPath:
        yield required(path.child("fieldPath"))
        return
    found = re.fullmatch(r"(.*)\['(.*)'\]", it.fieldPath, re.DOTALL)
    name = found[1] if found else it.fieldPath
    if it.apiVersion != "v1" or name not in KNOWN:
        bad_version = f"unsupported pod version: {it.apiVersion}"
        why = bad_version if it.apiVersion != "v1" else f"field label not supported: {name}"
        yield invalid(path.child("fieldPath"), it.fieldPath, f"error converting fieldPath: {why}")
    elif found:
        if name == "metadata.annotations":
            yield from formed(path, found[2].lower(), names.qualified_name_faults)
        elif name == "metadata.labels":
            yield from formed(path, found[2], names.qualified_name_faults)
        else:
            yield invalid(path, name, "does not support subscript")
    elif name not in allowed:
        yield not_supported(path.child("fieldPath"), name, allowed)


def resource_field(path: Path, it: ResourceFieldSelector, *, in_volume: bool) -> Faults:
    """A container's request or limit, such as `limits.cpu`."""
    resource = it.resource or ""
    if in_volume and not it.containerName:
        yield required(path.child("containerName"))
    elif not resource:
        yield required(path.child("resource"))
    elif resource not in RESOURCES and not resource.startswith(HUGE):
        yield not_supported(path.child("resource"), resource, RESOURCES)
    if it.divisor is None or quantities.parse(it.divisor) == 0:
        return
    if resource.endswith(".cpu"):
        if it.divisor not in ("1", "1m"):
            why = "only divisor's values 1m and 1 are supported with the cpu resource"
            yield invalid(path.child("divisor"), resource, why)
    elif it.divisor not in SIZES:
        of = "hugepages" if resource.startswith(HUGE) else resource.partition(".")[2]
        of = {"ephemeral-storage": "local ephemeral storage"}.get(of, of)
        why = f"only divisor's values {', '.join(SIZES)} are supported with the {of} resource"
        yield invalid(path.child("divisor"), resource, why)
