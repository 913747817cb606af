"""The environment variables of a container.
https://kubernetes.io/docs/tasks/inject-data-application/define-environment-variable-container/
"""

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from api.types import ConfigMap, Container, EnvVarSource, FileKeySelector, PersistentVolume, Pod, Secret, Service
from kubelet.containers import env_files
from kubelet.containers.fields import ConfigError, Place, pod_field, resource_field

_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")


@dataclass(frozen=True, slots=True)
class Sources:
    """The objects that a pod's containers refer to, as far as they exist, by name; the tokens of its account, by
    audience and seconds; the volumes behind its claims, or why there is none, by the claim's name; and the files of
    variables that can be read, by volume and path."""

    config_maps: Mapping[str, ConfigMap] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    tokens: Mapping[tuple[str, int], bytes] = field(default_factory=dict)
    claimed: Mapping[str, PersistentVolume | str] = field(default_factory=dict)
    files: Mapping[tuple[str, str], bytes] = field(default_factory=dict)


def environment(
    pod: Pod, container: Container, place: Place, sources: Sources, services: Mapping[str, str]
) -> dict[str, str]:  # fmt: skip
    """Later ones win: services, then envFrom, then env.  Raises ConfigError."""
    values = dict(services)
    for source in container.envFrom:
        if source.configMapRef is not None:
            ref = source.configMapRef
            config_map = _config_map(sources, ref.name, bool(ref.optional))
            values |= {source.prefix + k: v for k, v in (config_map.data if config_map else {}).items()}
        if source.secretRef is not None:
            ref_ = source.secretRef
            secret = _secret(sources, ref_.name, bool(ref_.optional))
            data = secret.data if secret else {}
            values |= {source.prefix + k: _decoded(v) for k, v in data.items()}
    for each in container.env:
        name = each.name or ""
        if each.valueFrom is None:
            values[name] = expand(each.value, values)
        elif (value := _from(pod, container, each.valueFrom, place, sources)) is not None:
            values[name] = value
    return values


def _from(pod: Pod, container: Container, source: EnvVarSource, place: Place, sources: Sources) -> str | None:
    if source.fieldRef is not None:
        return pod_field(pod, source.fieldRef.fieldPath or "", place)
    if source.resourceFieldRef is not None:
        return resource_field(pod, container, source.resourceFieldRef, place)
    namespace = pod.metadata.namespace
    if (of := source.configMapKeyRef) is not None:
        config_map = _config_map(sources, of.name, bool(of.optional))
        if config_map is not None and of.key in config_map.data:
            return config_map.data[of.key]
        if of.optional:
            return None
        raise ConfigError(f"couldn't find key {of.key} in ConfigMap {namespace}/{of.name}")
    if (ref := source.secretKeyRef) is not None:
        secret = _secret(sources, ref.name, bool(ref.optional))
        if secret is not None and ref.key in secret.data:
            return _decoded(secret.data[ref.key])
        if ref.optional:
            return None
        raise ConfigError(f"couldn't find key {ref.key} in Secret {namespace}/{ref.name}")
    if (file := source.fileKeyRef) is not None:
        return _from_file(file, sources)
    return None


def _from_file(file: FileKeySelector, sources: Sources) -> str | None:
    key, path = file.key or "", file.path or ""
    data = sources.files.get((file.volumeName or "", path))
    if data is None:
        raise ConfigError("couldn't parse env file")
    # An empty value counts as none, upstream too.
    value = env_files.value(data.decode(errors="surrogateescape"), key)
    if not value and not file.optional:
        raise ConfigError(f'environment variable key "{key}" not found in file "{path}"')
    return value or None


def _config_map(sources: Sources, name: str, optional: bool) -> ConfigMap | None:
    found = sources.config_maps.get(name)
    if found is None and not optional:
        raise ConfigError(f'configmap "{name}" not found')
    return found


def _secret(sources: Sources, name: str, optional: bool) -> Secret | None:
    found = sources.secrets.get(name)
    if found is None and not optional:
        raise ConfigError(f'secret "{name}" not found')
    return found


def _decoded(data: str) -> str:
    return base64.b64decode(data).decode(errors="surrogateescape")


def expand(text: str, values: Mapping[str, str]) -> str:
    """$(NAME) → its value if it has one; $$ → $."""

    def value(found: re.Match[str]) -> str:
        name = found[1]
        return "$" if name is None else values.get(name, found[0])

    return _REFERENCE.sub(value, text)


def unknown(text: str, values: Mapping[str, str]) -> list[str]:
    """The names that `expand` leaves as they stand."""
    names = (found[1] for found in _REFERENCE.finditer(text))
    return [name for name in names if name is not None and name not in values]


def references(containers: Iterable[Container]) -> tuple[set[str], set[str]]:
    """The names of the ConfigMaps and of the Secrets that the containers' variables come from."""
    return set(_config_map_names(containers)), set(_secret_names(containers))


def file_references(container: Container) -> set[tuple[str, str]]:
    """The volumes, and the paths in them, of the files that the container's variables come from."""
    refs = (e.valueFrom.fileKeyRef for e in container.env if e.valueFrom is not None)
    return {(ref.volumeName or "", ref.path or "") for ref in refs if ref is not None}


def _config_map_names(containers: Iterable[Container]) -> Iterator[str]:
    for c in containers:
        yield from (s.configMapRef.name for s in c.envFrom if s.configMapRef)
        yield from (e.valueFrom.configMapKeyRef.name for e in c.env if e.valueFrom and e.valueFrom.configMapKeyRef)


def _secret_names(containers: Iterable[Container]) -> Iterator[str]:
    for c in containers:
        yield from (s.secretRef.name for s in c.envFrom if s.secretRef)
        yield from (e.valueFrom.secretKeyRef.name for e in c.env if e.valueFrom and e.valueFrom.secretKeyRef)


def service_variables(pod: Pod, services: Iterable[Service]) -> dict[str, str]:
    """The variables that name services, as old as Docker links.
    https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables

    The API server's own service is told to every pod; the pod's namespace's only with enableServiceLinks.
    """
    namespace = pod.metadata.namespace
    chosen: dict[str, Service] = {}
    for service in services:
        meta = service.metadata
        if not service.spec.clusterIP or service.spec.clusterIP == "None":
            continue
        linked = meta.namespace == namespace and pod.spec.enableServiceLinks is not False
        # A service of that name in the pod's own namespace comes first, as upstream has it.
        if linked or (meta.namespace == "default" and meta.name == "kubernetes" and meta.name not in chosen):
            chosen[meta.name] = service
    values: dict[str, str] = {}
    for _, service in sorted(chosen.items()):
        values |= _variables(service)
    return values


def _variables(service: Service) -> dict[str, str]:
    name = service.metadata.name.upper().replace("-", "_")
    address = service.spec.clusterIP
    host = f"[{address}]" if ":" in address else address
    values = {f"{name}_SERVICE_HOST": address}
    for at, port in enumerate(service.spec.ports):
        protocol = port.protocol or "TCP"
        if at == 0:
            values[f"{name}_SERVICE_PORT"] = str(port.port)
            values[f"{name}_PORT"] = f"{protocol.lower()}://{host}:{port.port}"
        if port.name:
            values[f"{name}_SERVICE_PORT_{port.name.upper().replace('-', '_')}"] = str(port.port)
        prefix = f"{name}_PORT_{port.port}_{protocol}"
        values[prefix] = f"{protocol.lower()}://{host}:{port.port}"
        values[f"{prefix}_PROTO"] = protocol.lower()
        values[f"{prefix}_PORT"] = str(port.port)
        values[f"{prefix}_ADDR"] = address
    return values
