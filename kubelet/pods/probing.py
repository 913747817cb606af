"""Probes of one pod's running containers.
https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/
"""

import asyncio
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from api.types import Container, Probe
from kubelet.pods.handlers import HandlerFailed, Handlers, Warned
from kubelet.runtime.interfaces import Record
from kubelet.syncing.views import Health
from machinery.clocks import Clock

Tell = Callable[[Container, str, str], None]  # (container, reason, message) of an event
Count = Callable[[Container, str, str, float], None]  # (container, kind, result, seconds) of a probe


class Probing:
    """Holds one task for each running container that has probes, and what they found, by container id."""

    def __init__(
        self, handlers: Handlers, clock: Clock, changed: Callable[[], None], tell: Tell, count: Count
    ) -> None:  # fmt: skip
        self.health: dict[str, Health] = {}
        self._handlers = handlers
        self._clock = clock
        self._changed = changed
        self._tell = tell
        self._count = count
        self._ending: Collection[str] = ()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def follow(
        self, running: Iterable[tuple[Container, Record]], address: str, before: Callable[[str], Health],
        owner: asyncio.TaskGroup, ending: Collection[str] = (),
    ) -> None:  # fmt: skip
        """Probe exactly these, in tasks of `owner`; those in `ending` for their readiness alone.

        `before` says what a container that was found running was before: a restart of the kubelet must not take it out
        of service.
        """
        self._ending = ending
        wanted = {record.id: (container, record) for container, record in running}
        self._drop(set(self.health) - set(wanted))
        for identity, (container, record) in wanted.items():
            if identity in self.health or not has_probes(container):
                continue
            was = before(identity)
            self.health[identity] = Health(
                ready=container.readinessProbe is None or was.ready,
                started=container.startupProbe is None or was.started,
            )
            self._tasks[identity] = owner.create_task(self._watch(container, record, address))

    def cancel(self) -> None:
        self._drop(set(self.health))

    def _drop(self, identities: set[str]) -> None:
        for identity in identities:
            self._tasks.pop(identity).cancel()
            del self.health[identity]

    async def _watch(self, container: Container, record: Record, address: str) -> None:
        """The startup probe first, by itself; then the others side by side."""
        if container.startupProbe is not None and not self.health[record.id].started:
            await self._probe("startup", container.startupProbe, container, record, address)
            if not self.health[record.id].started:
                return  # what has never started is asked nothing else, while it ends neither
        async with asyncio.TaskGroup() as tasks:
            if container.readinessProbe is not None:
                tasks.create_task(self._probe("readiness", container.readinessProbe, container, record, address))
            if container.livenessProbe is not None:
                tasks.create_task(self._probe("liveness", container.livenessProbe, container, record, address))

    async def _probe(self, kind: str, probe: Probe, container: Container, record: Record, address: str) -> None:
        """Until it has said its last word; readiness has none."""
        delay = (probe.initialDelaySeconds or 0) - (self._clock.now() - record.started_at)
        if delay > 0:
            await self._clock.sleep(delay)
        good = bad = 0
        while kind == "readiness" or record.id not in self._ending:
            succeeded = await self._once(kind.capitalize(), probe, container, record, address)
            good, bad = (good + 1, 0) if succeeded else (0, bad + 1)
            if good >= (probe.successThreshold or 1):
                self._passed(kind, record.id)
                if kind == "startup":
                    return
            elif bad >= (probe.failureThreshold or 3):
                self._failed(kind, record.id)
                if kind != "readiness":
                    return
            await self._clock.sleep(probe.periodSeconds or 10)

    async def _once(self, kind: str, probe: Probe, container: Container, record: Record, address: str) -> bool:
        began = self._clock.monotonic()
        try:
            seconds = float(probe.timeoutSeconds or 1)
            answer = await self._handlers.perform(probe, container, record.id, address, seconds)
        except HandlerFailed as e:
            self._count(container, kind, "failed", self._clock.monotonic() - began)
            self._tell(container, "Unhealthy", f"{kind} probe failed: {e}")
            return False
        self._count(container, kind, "successful", self._clock.monotonic() - began)
        if isinstance(answer, Warned):
            self._tell(container, "ProbeWarning", f"{kind} probe warning: {answer}")
        return True

    def _passed(self, kind: str, identity: str) -> None:
        if kind == "startup":
            self._set(identity, started=True)
        elif kind == "readiness":
            self._set(identity, ready=True)

    def _failed(self, kind: str, identity: str) -> None:
        if kind == "readiness":
            self._set(identity, ready=False)
        else:
            self._set(identity, failed=kind)

    def _set(self, identity: str, *, ready: bool | None = None, started: bool | None = None, failed: str = "") -> None:
        old = self.health[identity]
        new = replace(
            old,
            ready=old.ready if ready is None else ready,
            started=old.started if started is None else started,
            failed=failed or old.failed,
        )
        if new != old:
            self.health[identity] = new
            self._changed()


def has_probes(container: Container) -> bool:
    return any((container.startupProbe, container.readinessProbe, container.livenessProbe))
