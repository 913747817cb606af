"""What happened to workloads and their pods, in the order of etcd's revisions, and whether it was ever too much.

Each kind is watched by itself, but revisions are common to all: sorted by them, the watches are one history.  A
controller that acts on what was true a moment ago is right, so a limit is the largest that was in force lately.
"""

import asyncio
import math
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from api import meta
from api.types import DaemonSet, Deployment, Job, Pod, ReplicaSet, StatefulSet
from machinery.client import Client

KINDS = (Deployment, ReplicaSet, StatefulSet, DaemonSet, Job, Pod)
LATELY = 400
"""Revisions for which a limit is remembered: a second or two of this test."""


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
        """Every time a pod was made that was one too many."""
        limits: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        living: defaultdict[str, set[str]] = defaultdict(set)
        owner_of: dict[str, str] = {}  # replica set → its deployment
        for revision, type_, obj in sorted(self.events, key=lambda e: e[0]):
            uid = obj.metadata.uid
            if not isinstance(obj, Pod):
                limits[uid].append((revision, _limit(obj)))
                if isinstance(obj, ReplicaSet) and (owner := meta.controller_of(obj)) is not None:
                    owner_of[uid] = owner.uid
                continue
            owner = meta.controller_of(obj)
            if owner is None:
                continue
            whole = owner_of.get(owner.uid, "")
            dead = type_ == "DELETED" or obj.metadata.deletionTimestamp or obj.status.phase in ("Succeeded", "Failed")
            for of in filter(None, (owner.uid, whole)):
                (living[of].discard if dead else living[of].add)(uid)
                if type_ == "ADDED" and limits[of]:
                    allowed = _most(limits[of], revision - LATELY)
                    if len(living[of]) > allowed:
                        yield f"{owner.kind} {owner.name}: {len(living[of])} pods at {revision}, {allowed} allowed"

    def story(self, excess: str) -> str:
        """What happened to the workload that an excess is about, until then."""
        _, name, *_, at, _, _ = excess.replace(":", "").replace(",", "").split()
        workload = name.split("-")[0]
        lines = [excess]
        for revision, type_, obj in sorted(self.events, key=lambda e: e[0]):
            own = obj.metadata.name
            if revision > int(at) or own.split("-")[0] != workload:
                continue
            if isinstance(obj, Pod):
                lines.append(f"{revision} {type_} {own} {obj.metadata.deletionTimestamp} {obj.status.phase}")
            else:
                generation = f"{obj.status.observedGeneration}/{obj.metadata.generation}"
                lines.append(f"{revision} {type_} {own} allowed {_limit(obj)}, seen {generation}, status {obj.status}")
        return "\n".join(lines)


def _most(limits: list[tuple[int, int]], since: int) -> int:
    """The largest limit that was in force at that revision or after it."""
    later = [n for at, n in limits if at > since]
    before = [n for at, n in limits if at <= since]
    return max([*later, *before[-1:]])


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
