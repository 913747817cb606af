"""Ending one container: its preStop hook, its stop signal, the rest of the grace period, SIGKILL.
https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial

from api.types import Container, Pod, Service
from kubelet.pods.handlers import HandlerFailed
from kubelet.pods.images import field_path
from kubelet.pods.means import Means, first
from kubelet.pods.starting import run_hook
from kubelet.runtime.interfaces import EngineError, Record
from kubelet.syncing.plans import Stop

LEAST_GRACE = 2.0  # what is left for the signal, even if the hook has used the whole period up
KILL_TIMEOUT = 10.0
DEFAULT_GRACE = 30.0
DRAIN = 1.0  # how long a pod behind a Service goes on serving after its deletion, if its grace allows

log = logging.getLogger("stopping")


async def stop(means: Means, pod: Pod, container: Container | None, order: Stop, grace: Callable[[], float],
               shortened: asyncio.Event) -> None:  # fmt: skip
    """Returns when the container has ended.

    `grace` is asked again whenever `shortened` is set: a second deletion may leave a pod less time than the first.
    `container` is None where the pod's spec is not known any more.
    """
    record, clock = order.record, means.clock
    began = clock.monotonic()

    def left(least: float = 0.0) -> float:
        return max(least, grace()) - (clock.monotonic() - began)

    waiting = _Waiting(means, record, shortened)
    if container is not None:
        path = field_path(pod, container)
        means.recorder.event(pod, "Normal", "Killing", order.message, field_path=path)
        if not order.at_once:
            await _pre_stop(waiting, pod, container, left)
            await _drain(means, pod, record, clock.monotonic() - began, grace())
    if order.at_once:
        await _kill(means, record)
        return
    await waiting.for_turn(order.after, left)
    await means.runtime.signal(record.id, _signal(record))
    least_end = clock.monotonic() + LEAST_GRACE
    await waiting.until_ended(lambda: max(left(LEAST_GRACE), least_end - clock.monotonic()))
    await _kill(means, record)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """For what happens while the container still runs and has time left.  How much is asked again when `shortened` is
    set."""

    means: Means
    record: Record
    shortened: asyncio.Event

    async def until(
        self, done: Callable[[], bool], comes: Callable[[], Awaitable[object]], left: Callable[[], float]
    ) -> None:  # fmt: skip
        """`comes` returns when `done` may have become true."""
        cache, clock = self.means.cache, self.means.clock
        while not done() and _runs(self.means, self.record.id) and (remaining := left()) > 0:
            self.shortened.clear()
            await first(comes(), cache.ended(self.record.id), clock.sleep(remaining), self.shortened.wait())

    async def for_turn(self, others: Iterable[str], left: Callable[[], float]) -> None:
        """Until those have ended."""
        for other in others:
            ended = partial(self.means.cache.ended, other)
            await self.until(lambda other=other: not _runs(self.means, other), ended, left)  # type: ignore[misc]

    async def until_ended(self, left: Callable[[], float]) -> None:
        await self.until(lambda: False, lambda: self.means.cache.ended(self.record.id), left)


def _runs(means: Means, container: str) -> bool:
    record = means.cache.get(container)
    return record is not None and record.running


async def _kill(means: Means, record: Record) -> None:
    """SIGKILL until the engine says that it has ended: its events may be lost, so they are not all that is trusted."""
    while (current := means.cache.get(record.id)) is not None and current.running:
        await means.runtime.signal(record.id, "SIGKILL")
        await first(means.cache.ended(record.id), means.clock.sleep(KILL_TIMEOUT))
        await means.cache.refresh(record.id)


async def _pre_stop(waiting: _Waiting, pod: Pod, container: Container, left: Callable[[], float]) -> None:
    hook = container.lifecycle.preStop if container.lifecycle is not None else None
    means, record, grace = waiting.means, waiting.record, left()
    if hook is None or grace <= 0:
        return
    address = means.address_of(pod.metadata.uid) or means.host_ip

    async def run() -> None:
        try:
            await run_hook(means, hook, container, record, address, grace)
        except HandlerFailed as e:
            log.info("preStop hook of %s/%s: %s", pod.metadata.namespace, pod.metadata.name, e)
            path = field_path(pod, container)
            means.recorder.event(pod, "Warning", "FailedPreStopHook", "PreStopHook failed", field_path=path)

    running = asyncio.create_task(run())
    try:
        await waiting.until(running.done, lambda: asyncio.wait([running]), left)
        if running.done():
            with contextlib.suppress(EngineError):
                running.result()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _drain(means: Means, pod: Pod, record: Record, elapsed: float, grace: float) -> None:
    """Let the proxies drop a deleted pod before it hears of its end.

    Its deletion, the endpoints without it and the rules without it come one after the other, so a server that obeys
    SIGTERM at once would refuse what is still sent to it.  Upstream leaves this to a preStop hook of the user's; what
    such a hook has taken counts here.
    """
    if not pod.metadata.deletionTimestamp or not _is_served(pod, means.services()):
        return
    seconds = min(DRAIN, grace / 4) - elapsed
    if seconds > 0:
        await first(means.cache.ended(record.id), means.clock.sleep(seconds))


def _is_served(pod: Pod, services: Iterable[Service]) -> bool:
    labels, namespace = pod.metadata.labels, pod.metadata.namespace
    return any(
        service.spec.selector and service.spec.selector.items() <= labels.items()
        for service in services
        if service.metadata.namespace == namespace
    )


def _signal(record: Record) -> str:
    return record.stop_signal


def grace_period(pod: Pod, container: Container | None, order: Stop) -> float:
    """Seconds: of the deletion, of the probe that failed, or of the pod."""
    if pod.metadata.deletionTimestamp and pod.metadata.deletionGracePeriodSeconds is not None:
        return float(pod.metadata.deletionGracePeriodSeconds)
    if container is not None and order.reason:
        probe = container.livenessProbe if order.reason == "liveness" else container.startupProbe
        if probe is not None and probe.terminationGracePeriodSeconds is not None:
            return float(probe.terminationGracePeriodSeconds)
    wanted = pod.spec.terminationGracePeriodSeconds
    return DEFAULT_GRACE if wanted is None else float(wanted)
