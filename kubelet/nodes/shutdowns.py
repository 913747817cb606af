"""Ending a node's pods in order before its machine goes down, the critical ones last.
https://kubernetes.io/docs/concepts/cluster-administration/node-shutdown/#graceful-node-shutdown

Upstream is told by systemd-logind.  Here the signal that says so is SIGPWR, which every init system can send and which
`docker kill --signal PWR` sends to a node of the lab.
"""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from api.types import Pod
from kubelet.pods.means import first
from machinery.clocks import Clock

CRITICAL = 2_000_000_000  # the priority of system-cluster-critical
REASON = "Terminated"
MESSAGE = "Pod was terminated in response to imminent node shutdown."
REFUSED = "NodeShutdown", "Pod was rejected as the node is shutting down."

log = logging.getLogger("shutdown")


@dataclass(frozen=True, slots=True)
class Turn:
    """These pods are ended together and have `seconds` for it."""

    seconds: float
    pods: tuple[Pod, ...]


def turns(pods: Iterable[Pod], whole: float, critical: float) -> list[Turn]:
    """Of `whole` seconds the last `critical` ones belong to critical pods; a turn without pods takes no time."""
    alive = [p for p in pods if p.status.phase not in ("Succeeded", "Failed")]
    late = tuple(p for p in alive if (p.spec.priority or 0) >= CRITICAL)
    early = tuple(p for p in alive if (p.spec.priority or 0) < CRITICAL)
    return [turn for turn in (Turn(whole - critical, early), Turn(critical, late)) if turn.pods]


def grace(pod: Pod, turn: Turn) -> float:
    """What a pod asks for, but not more than its turn has."""
    asked = pod.spec.terminationGracePeriodSeconds
    return turn.seconds if asked is None else min(turn.seconds, float(asked))


class Shutdown:
    """`end` fails a pod, gives its containers so many seconds, and returns when they have ended; `announce` is called
    once, before the first one."""

    def __init__(
        self, whole: float, critical: float, pods: Callable[[], Iterable[Pod]],
        end: Callable[[Pod, float], Awaitable[None]], announce: Callable[[], None], clock: Clock,
    ) -> None:  # fmt: skip
        self._whole, self._critical = whole, critical
        self._pods = pods
        self._end = end
        self._announce = announce
        self._clock = clock
        self._asked = asyncio.Event()

    def refusal(self) -> tuple[str, str] | None:
        """(reason, message) for pods that come now; None while others may come."""
        return REFUSED if self._asked.is_set() else None

    async def run(self) -> None:
        """Waits for the signal, if there is any time to be given to pods, and then until it is cancelled."""
        if self._whole <= 0:
            return
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGPWR, self._asked.set)
        try:
            await self._asked.wait()
            log.warning("the node is shutting down")
            self._announce()
            for turn in turns(self._pods(), self._whole, self._critical):
                await self._take(turn)
            log.warning("all pods have had their time")
        finally:
            loop.remove_signal_handler(signal.SIGPWR)

    async def _take(self, turn: Turn) -> None:
        ends = [self._end(pod, grace(pod, turn)) for pod in turn.pods]
        await first(asyncio.gather(*ends), self._clock.sleep(turn.seconds))
