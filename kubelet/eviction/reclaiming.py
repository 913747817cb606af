"""What disk a node can free without the end of a pod."""

from collections.abc import Iterable

from api.types import Pod
from kubelet.pods.caches import Cache
from kubelet.runtime.interfaces import Runtime
from kubelet.syncing.statuses import TERMINAL


async def discard_ended(pods: Iterable[Pod], cache: Cache, runtime: Runtime) -> None:
    """The containers of pods that have ended: their statuses tell how, and only their logs are lost."""
    for pod in pods:
        for record in cache.of(pod.metadata.uid) if pod.status.phase in TERMINAL else ():
            if not record.running:
                await runtime.remove(record.id)
                cache.forget(record.id)
