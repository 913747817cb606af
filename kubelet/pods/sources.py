"""ConfigMaps, Secrets, tokens and volumes that pods refer to."""

import asyncio
from collections.abc import Iterable
from typing import TypeVar

from api import errors, volumes
from api.types import ConfigMap, PersistentVolume, PersistentVolumeClaim, Pod, RuntimeClass, Secret
from kubelet.containers import environments
from kubelet.containers.environments import Sources
from kubelet.pods.tokens import Tokens
from kubelet.syncing.views import debugging
from kubelet.volumes import contents
from kubelet.volumes.claims import claim_fault
from machinery.client import Client

T = TypeVar("T", ConfigMap, Secret, PersistentVolume, PersistentVolumeClaim)


async def sources(client: Client, tokens: Tokens, pod: Pod) -> Sources:
    """Everything that the pod's variables and volumes refer to, read now.  Raises errors.ApiError.

    What does not exist is simply not in there: whoever needs it says so.
    """
    containers = [*pod.spec.initContainers, *pod.spec.containers, *debugging(pod)]
    from_env, from_volumes = environments.references(containers), contents.references(pod.spec.volumes)
    namespace = pod.metadata.namespace
    config_maps, secrets, granted, claimed = await asyncio.gather(
        _all(client, ConfigMap, namespace, from_env[0] | from_volumes[0]),
        _all(client, Secret, namespace, from_env[1] | from_volumes[1]),
        tokens.of(pod),
        _claimed(client, pod),
    )
    return Sources(config_maps, secrets, granted, claimed)


async def handler(client: Client, name: str) -> str:
    """What a RuntimeClass calls the runtime.  Raises ApiError."""
    return (await client.get(RuntimeClass, name)).handler or ""


async def pull_secrets(client: Client, pod: Pod) -> tuple[list[Secret], list[str]]:
    """The pod's secrets for registries, and the names of those that there are not.  Raises errors.ApiError."""
    names = list(dict.fromkeys(r.name for r in pod.spec.imagePullSecrets if r.name))
    found = await _all(client, Secret, pod.metadata.namespace, names)
    return list(found.values()), [name for name in names if name not in found]


async def _claimed(client: Client, pod: Pod) -> dict[str, PersistentVolume | str]:
    names = list(dict.fromkeys(volumes.claim_names(pod)))
    return dict(zip(names, await asyncio.gather(*(_behind(client, pod, name) for name in names)), strict=True))


async def _behind(client: Client, pod: Pod, name: str) -> PersistentVolume | str:
    """The volume behind a claim, or why there is none for this pod."""
    claim = await _one(client, PersistentVolumeClaim, pod.metadata.namespace, name)
    if fault := claim_fault(claim, name, pod):
        return fault
    assert claim is not None, "that would be a fault"
    volume = await _one(client, PersistentVolume, "", claim.spec.volumeName)
    return volume or f'failed to fetch PV "{claim.spec.volumeName}" from API server: not found'


async def _all(client: Client, what: type[T], namespace: str, names: Iterable[str]) -> dict[str, T]:
    found = await asyncio.gather(*(_one(client, what, namespace, name) for name in names if name))
    return {o.metadata.name: o for o in found if o is not None}


async def _one(client: Client, what: type[T], namespace: str, name: str) -> T | None:
    try:
        return await client.get(what, name, namespace)
    except errors.NotFound:
        return None
