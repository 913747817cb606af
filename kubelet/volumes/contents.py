"""The files of configMap, secret, downwardAPI and projected volumes.
https://kubernetes.io/docs/concepts/storage/volumes/
"""

import base64
from collections.abc import Iterable, Mapping, Sequence

from api.types import (
    ConfigMap,
    Container,
    DownwardAPIVolumeFile,
    KeyToPath,
    Pod,
    ProjectedVolumeSource,
    Secret,
    Volume,
)  # fmt: skip
from kubelet.containers.environments import Sources
from kubelet.containers.fields import ConfigError, Place, pod_field, resource_field
from kubelet.volumes.files import File

DEFAULT_MODE = 0o644


def words(e: OSError) -> str:
    """As programs in Go tell it: the path if one is known, and the reason in small letters."""
    reason = (e.strerror or str(e)).lower()
    return f"{e.filename}: {reason}" if e.filename else reason


class VolumeFault(Exception):
    """The volume cannot be set up now: event FailedMount, and another try later."""


def references(volumes: Iterable[Volume]) -> tuple[set[str], set[str]]:
    """The names of the ConfigMaps and of the Secrets that the volumes show."""
    config_maps, secrets = set(), set()
    for volume in volumes:
        if volume.configMap is not None:
            config_maps.add(volume.configMap.name)
        if volume.secret is not None:
            secrets.add(volume.secret.secretName)
        for source in volume.projected.sources if volume.projected is not None else ():
            if source.configMap is not None:
                config_maps.add(source.configMap.name)
            if source.secret is not None:
                secrets.add(source.secret.name)
    return config_maps, secrets


def is_made_of_files(volume: Volume) -> bool:
    return any((volume.configMap, volume.secret, volume.downwardAPI, volume.projected))


def contents(pod: Pod, volume: Volume, sources: Sources, place: Place) -> dict[str, File]:
    """The files by relative path.  Raises VolumeFault, in upstream's words."""
    if (shown := volume.configMap) is not None:
        found = _config_map(pod, sources, shown.name, bool(shown.optional))
        return _chosen(found, shown.items, _mode(shown.defaultMode), bool(shown.optional), "config")
    if (secret := volume.secret) is not None:
        found = _secret(pod, sources, secret.secretName, bool(secret.optional))
        return _chosen(found, secret.items, _mode(secret.defaultMode), bool(secret.optional), "secret")
    if (downward := volume.downwardAPI) is not None:
        return _downward(pod, downward.items, _mode(downward.defaultMode), place)
    if volume.projected is not None:
        return _projected(pod, volume.projected, sources, place)
    return {}


def _mode(mode: int | None) -> int:
    return DEFAULT_MODE if mode is None else mode


def _projected(pod: Pod, volume: ProjectedVolumeSource, sources: Sources, place: Place) -> dict[str, File]:
    mode = _mode(volume.defaultMode)
    files: dict[str, File] = {}
    for source in volume.sources:
        if (config_map := source.configMap) is not None:
            optional = bool(config_map.optional)
            data = _config_map(pod, sources, config_map.name, optional)
            files |= _chosen(data, config_map.items, mode, optional, "config")
        if (secret := source.secret) is not None:
            optional = bool(secret.optional)
            files |= _chosen(_secret(pod, sources, secret.name, optional), secret.items, mode, optional, "secret")
        if source.downwardAPI is not None:
            files |= _downward(pod, source.downwardAPI.items, mode, place)
        for name in ("clusterTrustBundle", "podCertificate"):
            if getattr(source, name) is not None:
                raise VolumeFault(f"{name} projection is not supported by this kubelet")
        if (token := source.serviceAccountToken) is not None:
            granted = sources.tokens.get((token.audience, token.expirationSeconds or 3600))
            if granted is None:
                raise VolumeFault("failed to fetch token")
            files[token.path or "token"] = _token_file(pod, granted, mode)
    return files


def _token_file(pod: Pod, token: bytes, mode: int) -> File:
    """Readable by those alone who are known to need it; by everybody in the pod if nobody is."""
    context = pod.spec.securityContext
    owner = _only_user(pod)
    if owner is not None or (context is not None and context.fsGroup is not None):
        mode = 0o600
    return File(token, mode, owner)


def _only_user(pod: Pod) -> int | None:
    """The user that all containers of the pod are told to run as; None if they are not, or as different ones."""
    whole = pod.spec.securityContext.runAsUser if pod.spec.securityContext is not None else None
    users = set()
    for container in (*pod.spec.initContainers, *pod.spec.containers):
        own = container.securityContext.runAsUser if container.securityContext is not None else None
        users.add(whole if own is None else own)
    return users.pop() if len(users) == 1 else None


def _config_map(pod: Pod, sources: Sources, name: str, optional: bool) -> Mapping[str, bytes]:
    found: ConfigMap | None = sources.config_maps.get(name)
    if found is None:
        if optional:
            return {}
        raise VolumeFault(f'configmap "{name}" not found')
    binary = {k: base64.b64decode(v) for k, v in found.binaryData.items()}
    return {k: v.encode() for k, v in found.data.items()} | binary


def _secret(pod: Pod, sources: Sources, name: str, optional: bool) -> Mapping[str, bytes]:
    found: Secret | None = sources.secrets.get(name)
    if found is None:
        if optional:
            return {}
        raise VolumeFault(f'secret "{name}" not found')
    return {k: base64.b64decode(v) for k, v in found.data.items()}


def _chosen(
    data: Mapping[str, bytes], items: Sequence[KeyToPath], mode: int, optional: bool, kind: str
) -> dict[str, File]:  # fmt: skip
    if not items:
        return {key: File(value, mode) for key, value in data.items()}
    files = {}
    for item in items:
        key = item.key or ""
        if key in data:
            files[item.path or key] = File(data[key], mode if item.mode is None else item.mode)
        elif not optional:
            raise VolumeFault(f"references non-existent {kind} key: {key}")
    return files


def _downward(pod: Pod, items: Sequence[DownwardAPIVolumeFile], mode: int, place: Place) -> dict[str, File]:
    files = {}
    for item in items:
        try:
            if item.fieldRef is not None:
                value = pod_field(pod, item.fieldRef.fieldPath or "", place)
            elif item.resourceFieldRef is not None:
                value = resource_field(pod, Container(), item.resourceFieldRef, place)
            else:
                continue
        except ConfigError as e:
            raise VolumeFault(str(e)) from e
        files[item.path or ""] = File(value.encode(), mode if item.mode is None else item.mode)
    return files
