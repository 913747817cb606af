"""Pod statuses on their way to the API server.

Only the newest status of a pod counts: while one is being written the next ones replace each other.  Nothing that
makes containers run ever waits for this.  The kubelet's own status is the true one: whatever somebody else writes over
it is put right as soon as it is seen.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from api import errors, meta
from api.types import Pod, PodStatus
from kubelet.statics.manifests import local_uid
from kubelet.syncing.conditions import DISRUPTION, OWNED, is_own
from kubelet.syncing.statuses import TERMINAL, pod_status
from kubelet.syncing.views import View
from machinery.client import Client
from machinery.queues import WorkQueue

WRITERS = 16
RETRY = 1.0
# Written by the scheduler and by controllers.
OTHERS = (
    "nominatedNodeName", "resourceClaimStatuses", "extendedResourceClaimStatus", "nodeAllocatableResourceClaimStatuses",
)  # fmt: skip
log = logging.getLogger("status")


@dataclass(frozen=True, slots=True)
class _Report:
    pod: Pod  # the API server's object
    status: PodStatus
    last: bool


@dataclass(frozen=True, slots=True)
class _Known:
    """What the API server has, as of that version of the object."""

    version: int
    document: dict[str, Any]


class Reports:
    """`put` a status whenever it may have changed, `observe` what the API server has; `run` writes."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._queue: WorkQueue[str] = WorkQueue()
        self._wanted: dict[str, _Report] = {}
        self._last: dict[str, _Report] = {}
        self._written: dict[str, _Known] = {}

    def put(self, pod: Pod, status: PodStatus, *, last: bool = False, uid: str = "") -> None:
        """`last`: nothing of the pod is left on this node, so its object may go if it is being deleted.  `uid` is that
        of the pod on this node, if its object has another."""
        uid = uid or pod.metadata.uid
        report = self._last[uid] = _Report(pod, status, last)
        if not last and uid not in self._wanted and self._known(pod) == (same := document(status)):
            # Of a kubelet that has just begun somebody else may write over what an earlier one wrote.
            self._written.setdefault(pod.metadata.uid, _Known(int(pod.metadata.resourceVersion or 0), same))
            return
        self._want(uid, report)

    def observe(self, pod: Pod) -> None:
        """The API server's object has changed: if its status is not the last one that was put, that is written again.

        A phase that somebody else has made terminal stands, as upstream: the pod's worker ends the pod then.
        """
        uid = local_uid(pod)
        known, last = self._written.get(pod.metadata.uid), self._last.get(uid)
        version = int(pod.metadata.resourceVersion or 0)
        if known is None or last is None or version < known.version:
            return  # older than our own last word: it may be an earlier one of ours
        seen = self._written[pod.metadata.uid] = _Known(version, document(pod.status))
        ended = pod.status.phase in TERMINAL and last.status.phase not in TERMINAL
        if seen.document != document(last.status) and not ended and not last.last:
            log.info("the status of pod %s/%s was overwritten", pod.metadata.namespace, pod.metadata.name)
            self._want(uid, replace(last, pod=pod))

    def status(self, pod: Pod) -> PodStatus:
        """The pod's status as it was last put, with what others answer for as it is now."""
        last = self._last.get(pod.metadata.uid)
        if last is None or pod.status.phase in TERMINAL:
            return pod.status
        own = [c for c in last.status.conditions if is_own(c.type, c.reason)]
        others = [c for c in pod.status.conditions if not is_own(c.type, c.reason)]
        return msgspec.structs.replace(last.status, conditions=own + others)

    def _want(self, uid: str, report: _Report) -> None:
        self._wanted[uid] = report
        self._queue.add(uid)

    def forget(self, uid: str) -> None:
        self._wanted.pop(uid, None)
        if (last := self._last.pop(uid, None)) is not None:
            self._written.pop(last.pod.metadata.uid, None)

    def _known(self, pod: Pod) -> dict[str, Any]:
        known = self._written.get(pod.metadata.uid)
        return document(pod.status) if known is None else known.document

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(WRITERS):
                    tasks.create_task(self._work())
        finally:
            self._queue.close()

    async def _work(self) -> None:
        while True:
            uid = await self._queue.get()
            report = self._wanted.get(uid)
            try:
                if report is not None:
                    await self._write(uid, report)
            except (errors.NotFound, errors.Conflict) as e:
                log.debug("pod %s is gone, or another one has its name: %s", uid, e)
                self._done(uid, report)
                self.forget(uid)
            except errors.ApiError as e:
                log.warning("writing the status of pod %s: %s", uid, e)
                self._queue.add_after(uid, RETRY)
            finally:
                self._queue.done(uid)

    def _done(self, uid: str, report: _Report | None) -> None:
        if self._wanted.get(uid) is report:
            self._wanted.pop(uid, None)

    async def _write(self, uid: str, report: _Report) -> None:
        metadata = report.pod.metadata
        wanted = document(report.status)
        change = difference(self._known(report.pod), wanted)
        if change:
            body = {"metadata": {"uid": metadata.uid}, "status": change}
            answer = await self._client.patch(
                Pod, metadata.name, metadata.namespace, body, kind="strategic", subresource="status"
            )
            version, known = int(answer.metadata.resourceVersion or 0), self._written.get(metadata.uid)
            if known is None or version >= known.version:  # else somebody has written since, and that was seen already
                self._written[metadata.uid] = _Known(version, wanted)
        if report.last and metadata.deletionTimestamp:
            await self._client.delete(Pod, metadata.name, metadata.namespace, uid=metadata.uid, grace_seconds=0)
            self.forget(uid)
        self._done(uid, report)


def document(status: PodStatus) -> dict[str, Any]:
    """The part of a status that a kubelet answers for, as JSON would have it."""
    found: dict[str, Any] = msgspec.json.decode(meta.encode(status))
    for others in OTHERS:
        found.pop(others, None)
    own = (c for c in found.get("conditions", ()) if is_own(c["type"], c.get("reason", "")))
    found["conditions"] = sorted(own, key=lambda c: (*OWNED, DISRUPTION).index(c["type"]))
    return found


def difference(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """A strategic merge patch.  Conditions are merged by type, so that those which others keep are left alone."""
    change: dict[str, Any] = {k: None for k in old if k not in new}
    for name, value in new.items():
        if old.get(name) == value:
            continue
        # These two would be merged by address: what is not the pod's any more must go.
        replaced = name in ("podIPs", "hostIPs") and old.get(name)
        change[name] = [{"$patch": "replace"}, *value] if replaced else value
    if "conditions" in change:
        change["conditions"] = _conditions(old.get("conditions", []), new["conditions"])
    for name in ("podIPs", "hostIPs"):
        if change.get(name, ...) is None:
            change[name] = [{"$patch": "replace"}]
    return change


def _conditions(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that changed; a field that one has lost must be said, since each is merged into what is there."""
    before, after = {c["type"]: c for c in old}, {c["type"] for c in new}
    gone = [{"type": kind, "$patch": "delete"} for kind in before if kind not in after]
    changed = [c for c in new if before.get(c["type"]) != c]
    return gone + [dict.fromkeys(before.get(c["type"], {}).keys() - c.keys()) | c for c in changed]


class PodReporter:
    """Implements `means.Reporter`: makes the status and puts it on its way.

    `object_of` gives the API server's object of a pod: a static pod's is its mirror, and there may be none.
    """

    def __init__(self, reports: Reports, object_of: Callable[[Pod], Pod | None] = lambda pod: pod) -> None:
        self._reports = reports
        self._object_of = object_of

    def report(self, view: View, *, last: bool = False) -> None:
        pod = msgspec.structs.replace(view.pod, status=self._reports.status(view.pod))
        if (shown := self._object_of(view.pod)) is not None:
            status = pod_status(replace(view, pod=pod))
            self._reports.put(shown, status, last=last, uid=view.pod.metadata.uid)

    def observe(self, pod: Pod) -> None:
        if (shown := self._object_of(pod)) is not None:
            self._reports.observe(shown)

    def forget(self, uid: str) -> None:
        self._reports.forget(uid)
