"""ConfigMaps, Secrets and Services that pods refer to."""

import asyncio
from collections.abc import Iterable
from typing import TypeVar

from api import errors
from api.types import ConfigMap, Pod, Secret
from kubelet.containers import environments
from kubelet.containers.environments import Sources
from kubelet.pods.tokens import Tokens
from kubelet.syncing.views import debugging
from kubelet.volumes import contents
from machinery.client import Client

T = TypeVar("T", ConfigMap, Secret)


async def sources(client: Client, tokens: Tokens, pod: Pod) -> Sources:
    """Everything that the pod's variables and volumes refer to, read now.  Raises errors.ApiError.

    What does not exist is simply not in there: whoever needs it says so.
    """
    containers = [*pod.spec.initContainers, *pod.spec.containers, *debugging(pod)]
    from_env, from_volumes = environments.references(containers), contents.references(pod.spec.volumes)
    namespace = pod.metadata.namespace
    config_maps, secrets, granted = await asyncio.gather(
        _all(client, ConfigMap, namespace, from_env[0] | from_volumes[0]),
        _all(client, Secret, namespace, from_env[1] | from_volumes[1]),
        tokens.of(pod),
    )
    return Sources(config_maps, secrets, granted)


async def _all(client: Client, what: type[T], namespace: str, names: Iterable[str]) -> dict[str, T]:
    found = await asyncio.gather(*(_one(client, what, namespace, name) for name in names if name))
    return {o.metadata.name: o for o in found if o is not None}


async def _one(client: Client, what: type[T], namespace: str, name: str) -> T | None:
    try:
        return await client.get(what, name, namespace)
    except errors.NotFound:
        return None
