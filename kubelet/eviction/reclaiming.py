"""What disk a node can free without the end of a pod."""

from collections.abc import Iterable

from api.types import Pod
from kubelet.pods.caches import Cache
from kubelet.runtime.interfaces import EngineError, Runtime
from kubelet.syncing.statuses import TERMINAL


async def discard_ended(pods: Iterable[Pod], cache: Cache, runtime: Runtime) -> None:
    """The containers of pods that have ended: their statuses tell how, and only their logs are lost.

    Raises EngineError for those that stay, when the others are gone.
    """
    faults = []
    for pod in pods:
        for record in cache.of(pod.metadata.uid) if pod.status.phase in TERMINAL else ():
            if record.running:
                continue
            try:
                await runtime.remove(record.id)
            except EngineError as e:
                faults.append(str(e))
            else:
                cache.forget(record.id)
    if faults:
        raise EngineError(", ".join(faults))
