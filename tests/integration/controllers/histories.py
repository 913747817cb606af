"""What happened to workloads and their pods, in the order of etcd's revisions, and whether it was ever too much.

Each kind is watched by itself, but revisions are common to all: sorted by them, the watches are one history.  Nobody
knows at once what was written a moment ago, however long the moment is on a busy machine.  So what may be is the most of
what stood in the spec since the generation that the controller has last said to have observed:
- a pod that is made is not one more than its own controller's spec allows;
- a replica set that grows does not make room for more pods than its deployment allows, together with the others: those
  that may yet make pods, and those whose pods are still there.
"""

import asyncio
import math
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from api import meta
from api.types import DaemonSet, Deployment, Job, Pod, ReplicaSet, StatefulSet
from machinery.client import Client

KINDS = (Deployment, ReplicaSet, StatefulSet, DaemonSet, Job, Pod)
ENDED = ("Succeeded", "Failed")


@dataclass
class Limit:
    """How many pods a workload may have, as its controller can know it."""

    observed: int = 0
    sizes: dict[int, int] = field(default_factory=dict)  # generation → limit

    def note(self, obj: Any) -> bool:
        """Whether it grew."""
        generation, before = obj.metadata.generation or 0, max(self.sizes, default=None)
        grew = _limit(obj) > (self.sizes[before] if before is not None else 0)
        self.sizes[generation] = _limit(obj)
        self.observed = max(self.observed, getattr(obj.status, "observedGeneration", 0) or 0)
        return grew

    @property
    def most(self) -> int:
        return max((size for generation, size in self.sizes.items() if generation >= self.observed), default=0)


@dataclass
class History:
    events: list[tuple[int, str, Any]] = field(default_factory=list)

    async def follow(self, client: Client, what: type[Any]) -> None:
        revision = (await client.list(what)).resource_version
        async for batch in client.watch(what, resource_version=revision):
            for event in batch:
                if event.type != "BOOKMARK":
                    version = int(event.object.metadata.resourceVersion)
                    self.events.append((version, event.type, event.object))

    def excesses(self) -> Iterator[str]:
        """Every time there was room for a pod too many, or there was one."""
        limits: defaultdict[str, Limit] = defaultdict(Limit)
        living: defaultdict[str, set[str]] = defaultdict(set)
        parts: defaultdict[str, set[str]] = defaultdict(set)  # deployment → its replica sets
        gone: set[str] = set()
        for revision, type_, obj in sorted(self.events, key=lambda e: e[0]):
            uid, owner = obj.metadata.uid, meta.controller_of(obj)
            if isinstance(obj, Pod):
                if owner is None:
                    continue
                over = type_ == "DELETED" or obj.metadata.deletionTimestamp or obj.status.phase in ENDED
                (living[owner.uid].discard if over else living[owner.uid].add)(uid)
                if type_ == "ADDED" and (there := len(living[owner.uid])) > (most := limits[owner.uid].most):
                    yield f"{owner.kind} {owner.name}: {there} pods at {revision}, {most} allowed"
                continue
            if type_ == "DELETED":
                gone.add(uid)
                continue
            grew = limits[uid].note(obj)
            if isinstance(obj, ReplicaSet) and owner is not None:
                parts[owner.uid].add(uid)
                room = sum(max(limits[p].most * (p not in gone), len(living[p])) for p in parts[owner.uid])
                if grew and room > (most := limits[owner.uid].most):
                    yield f"Deployment {owner.name}: {room} pods at {revision}, {most} allowed"

    def story(self, excess: str) -> str:
        """What happened to the workload that an excess is about, until then."""
        _, name, *_, at, _, _ = excess.replace(":", "").replace(",", "").split()
        return "\n".join([excess, *self.of(name.split("-")[0], int(at))])

    def of(self, workload: str, until: int = sys.maxsize) -> list[str]:
        """What happened to a workload, a line for each event."""
        lines = []
        for revision, type_, obj in sorted(self.events, key=lambda e: e[0]):
            own = obj.metadata.name
            if revision > until or own.split("-")[0] != workload:
                continue
            if isinstance(obj, Pod):
                lines.append(f"{revision} {type_} {own} {obj.metadata.deletionTimestamp} {obj.status.phase}")
            else:
                generation = f"{getattr(obj.status, 'observedGeneration', '')}/{obj.metadata.generation}"
                lines.append(f"{revision} {type_} {own} allowed {_limit(obj)}, seen {generation}, status {obj.status}")
        return lines


def _limit(obj: Any) -> int:
    """How many pods may live at once."""
    match obj:
        case Deployment():
            replicas, rolling = obj.spec.replicas or 0, obj.spec.strategy.rollingUpdate
            surge = rolling.maxSurge if rolling is not None else 0
            if isinstance(surge, str):
                surge = math.ceil(replicas * int(surge.rstrip("%")) / 100)
            return replicas + (surge or 0)
        case ReplicaSet() | StatefulSet():
            return obj.spec.replicas or 0
        case Job():
            return 0 if obj.spec.suspend else obj.spec.parallelism or 0
    return 1  # a daemon set's, on the one node there is


@asynccontextmanager
async def recorded(client: Client) -> AsyncIterator[History]:
    history = History()
    async with asyncio.TaskGroup() as tasks:
        following = [tasks.create_task(history.follow(client, what)) for what in KINDS]
        yield history
        for task in following:
            task.cancel()
