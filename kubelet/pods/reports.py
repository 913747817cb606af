"""Pod statuses on their way to the API server.

Only the newest status of a pod counts: while one is being written the next ones replace each other.  Nothing that
makes containers run ever waits for this.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

import msgspec

from api import errors, meta
from api.types import Pod, PodStatus
from kubelet.syncing.conditions import OWNED
from kubelet.syncing.statuses import pod_status
from kubelet.syncing.views import View
from machinery.client import Client
from machinery.queues import WorkQueue

WRITERS = 16
RETRY = 1.0
log = logging.getLogger("status")


@dataclass(frozen=True, slots=True)
class _Report:
    pod: Pod
    status: PodStatus
    last: bool


class Reports:
    """`put` a status whenever it may have changed; `run` writes."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._queue: WorkQueue[str] = WorkQueue()
        self._wanted: dict[str, _Report] = {}
        self._written: dict[str, dict[str, Any]] = {}

    def put(self, pod: Pod, status: PodStatus, *, last: bool = False) -> None:
        """`last`: nothing of the pod is left on this node, so its object may go if it is being deleted."""
        uid = pod.metadata.uid
        if not last and uid not in self._wanted and self._known(pod) == document(status):
            return
        self._wanted[uid] = _Report(pod, status, last)
        self._queue.add(uid)

    def forget(self, uid: str) -> None:
        self._wanted.pop(uid, None)
        self._written.pop(uid, None)

    def _known(self, pod: Pod) -> dict[str, Any]:
        known = self._written.get(pod.metadata.uid)
        return document(pod.status) if known is None else known

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
                    await self._write(report)
            except (errors.NotFound, errors.Conflict) as e:
                log.debug("pod %s is gone, or another one has its name: %s", uid, e)
                self._done(uid, report)
                self._written.pop(uid, None)
            except errors.ApiError as e:
                log.warning("writing the status of pod %s: %s", uid, e)
                self._queue.add_after(uid, RETRY)
            finally:
                self._queue.done(uid)

    def _done(self, uid: str, report: _Report | None) -> None:
        if self._wanted.get(uid) is report:
            self._wanted.pop(uid, None)

    async def _write(self, report: _Report) -> None:
        metadata = report.pod.metadata
        wanted = document(report.status)
        change = difference(self._known(report.pod), wanted)
        if change:
            body = {"metadata": {"uid": metadata.uid}, "status": change}
            await self._client.patch(
                Pod, metadata.name, metadata.namespace, body, kind="strategic", subresource="status"
            )
            self._written[metadata.uid] = wanted
        if report.last and metadata.deletionTimestamp:
            await self._client.delete(Pod, metadata.name, metadata.namespace, uid=metadata.uid, grace_seconds=0)
            self._written.pop(metadata.uid, None)
        self._done(metadata.uid, report)


def document(status: PodStatus) -> dict[str, Any]:
    """The part of a status that a kubelet answers for, as JSON would have it."""
    found: dict[str, Any] = msgspec.json.decode(meta.encode(status))
    found.pop("nominatedNodeName", None)
    own = (c for c in found.get("conditions", ()) if c["type"] in OWNED)
    found["conditions"] = sorted(own, key=lambda c: OWNED.index(c["type"]))
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
    before = {c["type"]: c for c in old}
    return [dict.fromkeys(before.get(c["type"], {}).keys() - c.keys()) | c for c in new if before.get(c["type"]) != c]


class PodReporter:
    """Implements `means.Reporter`: makes the status and puts it on its way."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports

    def report(self, view: View, *, last: bool = False) -> None:
        self._reports.put(view.pod, pod_status(view), last=last)

    def forget(self, uid: str) -> None:
        self._reports.forget(uid)
