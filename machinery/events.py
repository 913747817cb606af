"""Events: what a component tells the people who look at an object.

https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/ . Telling never blocks or fails its
caller: what does not fit is counted and dropped, as upstream does.
"""

import asyncio
import logging
import random
import uuid
from collections import OrderedDict
from contextlib import suppress
from typing import Any, NamedTuple

from api import errors, meta, names, times
from api.types import Event, EventSource, ObjectMeta, ObjectReference
from machinery.client import Client
from machinery.clocks import SYSTEM, Clock

PENDING = 10_000
"""Events that wait to be written; more are dropped."""
REMEMBERED = 4096
# Upstream's spam filter: 25 events at once about one object, then one in five minutes.
BURST = 25
REFILL = 1 / 300
PAUSES = (1.0, 2.0, 4.0, *[10.0] * 8)
"""Seconds between the tries to write an event that the API server does not answer to: as many as upstream's, which wait
for ten seconds each."""
NOT_NOW = (*errors.UNANSWERED, errors.TooManyRequests)

log = logging.getLogger("events")


class _Told(NamedTuple):
    regarding: ObjectReference
    type: str
    reason: str
    message: str
    at: float


class _Seen:
    """An event that was stored and may happen again."""

    __slots__ = ("count", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 1


class Recorder:
    """Records events of `component`; `run` writes them, until cancelled.

    One after the other, as upstream: so what is told keeps its order, and among many writes at once (a thousand pods
    are bound) telling of them takes the least part, and is done when they are.
    """

    def __init__(self, client: Client, component: str, host: str = "", *, clock: Clock = SYSTEM) -> None:
        self._client = client
        self._component = component
        self._host = host
        self._clock = clock
        self._pending: asyncio.Queue[_Told] = asyncio.Queue(PENDING)
        self._seen: OrderedDict[tuple[str, ...], _Seen] = OrderedDict()
        self._tokens: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self.dropped = 0
        self._written = random.randrange(1 << 20)  # lest two recorders give one name, where a clock stands

    def event(self, regarding: Any, type: str, reason: str, message: str, *, field_path: str = "") -> None:  # noqa: A002
        """Tell of `regarding` (any typed object). `type` is Normal or Warning; `field_path` names a container."""
        kind, metadata = meta.kind_of(regarding), regarding.metadata
        reference = ObjectReference(
            apiVersion=kind.api_version, kind=kind.name, namespace=metadata.namespace, name=metadata.name,
            uid=metadata.uid, resourceVersion=metadata.resourceVersion, fieldPath=field_path,
        )  # fmt: skip
        told = _Told(reference, type, reason, message, self._clock.now())
        if not self._permitted(f"{kind.name}/{metadata.namespace}/{metadata.name}/{metadata.uid}"):
            self.dropped += 1
            return
        try:
            self._pending.put_nowait(told)
        except asyncio.QueueFull:
            self.dropped += 1

    def _permitted(self, about: str) -> bool:
        now = self._clock.monotonic()
        tokens, since = self._tokens.pop(about, (float(BURST), now))
        tokens = min(BURST, tokens + (now - since) * REFILL)
        self._tokens[about] = (max(tokens - 1, 0.0) if tokens >= 1 else tokens, now)
        if len(self._tokens) > REMEMBERED:
            self._tokens.popitem(last=False)
        return tokens >= 1

    async def run(self) -> None:
        while True:
            told = await self._pending.get()
            name = self._named(told)
            try:
                for pause in PAUSES:
                    try:
                        await self._write(told, name)
                        break
                    except NOT_NOW as e:
                        log.debug("event %s about %s is tried again: %s", told.reason, told.regarding.name, e)
                    await self._clock.sleep(pause)
                else:
                    await self._write(told, name)
            except errors.ApiError as e:
                self.dropped += 1
                log.debug("event %s about %s was not written: %s", told.reason, told.regarding.name, e)

    def _named(self, told: _Told) -> str:
        self._written += 1  # two events of one nanosecond still need two names
        name = f"{told.regarding.name}.{int(told.at * 1e9) + self._written:x}"
        return name if not names.dns_subdomain_faults(name) else str(uuid.uuid4())

    async def _write(self, told: _Told, name: str) -> None:
        """Whoever does not know whether it was done may do it again."""
        same = (told.regarding.uid, told.regarding.name, told.regarding.fieldPath, told.type, told.reason, told.message)
        seen = self._seen.get(same)
        namespace = told.regarding.namespace or "default"
        if seen is not None:
            self._seen.move_to_end(same)
            change = {"count": seen.count + 1, "lastTimestamp": times.format(told.at)}
            try:
                await self._client.patch(Event, seen.name, namespace, change)
            except errors.NotFound:
                del self._seen[same]  # it has expired: tell it anew
            else:
                seen.count += 1
                return
        with suppress(errors.AlreadyExists):  # of an earlier try
            await self._client.create(self._event(told, name, namespace))
        self._seen[same] = _Seen(name)
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    def _event(self, told: _Told, name: str, namespace: str) -> Event:
        return Event(
            metadata=ObjectMeta(name=name, namespace=namespace),
            involvedObject=told.regarding, type=told.type, reason=told.reason, message=told.message[:1024],
            source=EventSource(component=self._component, host=self._host),
            reportingComponent=self._component, reportingInstance=self._host, count=1,
            firstTimestamp=times.format(told.at), lastTimestamp=times.format(told.at),
        )  # fmt: skip
