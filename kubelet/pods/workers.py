"""The worker of one pod: looks, decides, acts, looks again, until the pod is gone."""

import asyncio
import contextlib
import logging
import math
from dataclasses import dataclass, replace

from api import times
from api.types import Container, Pod, PodCondition
from kubelet.containers.specs import fingerprint
from kubelet.devices.claims import ClaimFault
from kubelet.network.addresses import Pool
from kubelet.network.cni.plugins import PluginFailed
from kubelet.network.plumbing import shares_network
from kubelet.pods import admission, storage
from kubelet.pods.following import Reference
from kubelet.pods.images import field_path
from kubelet.pods.means import Means, first
from kubelet.pods.probing import Probing
from kubelet.pods.resizing import Resizing
from kubelet.pods.starting import Starting, by_name, refresh_period
from kubelet.pods.stopping import LEAST_GRACE, grace_period, stop
from kubelet.runtime.interfaces import EngineError, LogOptions, Record
from kubelet.syncing import restarts
from kubelet.syncing.plans import Plan, Stop, finished, plan
from kubelet.syncing.statuses import TERMINAL
from kubelet.syncing.views import Health, View, all_running, debugging, sandboxes
from kubelet.volumes.layouts import Layout

ERROR_PAUSE = 1.0
FIRST_RELEASE_RETRY, LONGEST_RELEASE_RETRY = 1.0, 10.0
MESSAGE_LIMIT = 4096
FALLBACK_LINES, FALLBACK_LIMIT = 80, 2048

log = logging.getLogger("pods")


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a pod ends that its object says is to run: it fails with this reason and message.  `grace` are the seconds
    that it has at most, None for its own."""

    reason: str
    message: str
    grace: float | None = None
    conditions: tuple[PodCondition, ...] = ()


class Worker:
    """Level-based: whatever wakes it, it works from what the pod's object and the container cache say then.

    `orphan`: the API server has no such pod (any more), so it must end, and nobody is told.
    """

    def __init__(self, means: Means, pod: Pod, *, orphan: bool = False) -> None:
        self.pod = pod
        self._means = means
        means.allocations.take(pod)
        self._orphan = orphan
        self._layout = Layout(means.root, pod.metadata.uid, means.machine, means.pinning, means.host_paths)
        self._starting = Starting(means, self._layout)
        self._probing = Probing(means.handlers, means.clock, self.wake, self._probed, self._counted)
        self._resizing = Resizing(means, pod)
        self._changed = asyncio.Event()
        self._shortened = asyncio.Event()
        self._ending: set[str] = set()
        self._again: set[str] = set()
        self._connected: set[str] = set()
        self._messages: dict[str, str] = {}
        self._told: set[str] = set()
        self._tasks: asyncio.TaskGroup | None = None
        self._refreshed_at = means.clock.monotonic()
        self._measure_at = means.clock.monotonic() + storage.PERIOD
        self._release_at, self._release_wait = -math.inf, FIRST_RELEASE_RETRY
        self._ended_by: Ending | None = None
        self._refused: admission.Refusal | None = None
        self._judged = False
        self.over = asyncio.Event()
        self._disconnected = False
        self._hurried = False
        self._operation = "create"
        means.following.follow(pod, self._source_changed)

    def wake(self) -> None:
        self._changed.set()

    def update(self, pod: Pod) -> None:
        """The pod's object has changed."""
        old, self.pod = self.pod, pod
        self._means.reporter.observe(pod)
        if pod.metadata.deletionTimestamp:
            self._starting.leaving.set()
        if pod.metadata.deletionGracePeriodSeconds != old.metadata.deletionGracePeriodSeconds:
            self._shortened.set()
        if _shown(pod) != _shown(old):
            self._refresh()
        if pod.status.resourceClaimStatuses != old.status.resourceClaimStatuses:
            self.devices_changed()
        # Most changes are of the status, by ourselves.
        if pod.spec != old.spec or _wishes(pod) != _wishes(old) or _told(pod) != _told(old):
            self._operation = "update" if self._operation == "sync" else self._operation
            self.wake()

    def _source_changed(self, reference: Reference, version: str) -> None:
        if not self._starting.knows(reference, version):
            self._refresh()
            self.wake()

    def _refresh(self) -> None:
        self._refreshed_at = -math.inf
        self._starting.reconsider()

    def devices_changed(self) -> None:
        """A driver has come, or a claim been made: what could not be prepared, or undone, may be possible now."""
        if self.pod.spec.resourceClaims:
            self._starting.reconsider()
            self._release_at = -math.inf
            self.wake()

    def gone(self) -> None:
        """The object is no more, and it was not this worker that let it go: its deletion was forced."""
        self._orphan = self._hurried = True
        self._starting.leaving.set()
        self._shortened.set()
        self.wake()

    def end(self, ending: Ending) -> None:
        """End the pod, whatever its object says; `over` is set when nothing of it runs any more."""
        if self._ended_by is not None:
            return
        self._ended_by = ending
        self._means.recorder.event(self.pod, "Warning", ending.reason, ending.message)
        self._starting.leaving.set()
        self._shortened.set()
        self.wake()

    @property
    def leaving(self) -> bool:
        return self._orphan or bool(self.pod.metadata.deletionTimestamp)

    @property
    def waits_for_room(self) -> bool:
        return self._resizing.waits and not self.leaving

    async def run(self) -> None:
        """Returns when nothing of the pod is left on this node.  Cancelling it leaves the containers as they are."""
        async with asyncio.TaskGroup() as self._tasks:
            try:
                while not await self._step():
                    pass
            finally:
                self._probing.cancel()

    async def _step(self) -> bool:
        self._changed.clear()
        try:
            return await self._sync()
        except (EngineError, OSError) as e:
            log.warning("pod %s/%s: %s", self.pod.metadata.namespace, self.pod.metadata.name, e)
            await self._means.clock.sleep(ERROR_PAUSE)
            return False

    async def _sync(self) -> bool:
        """True once nothing is left to do for ever."""
        with self._means.metrics.syncing(self._operation):
            todo, view, ended = await self._turn()
        self._operation = "sync"
        if not ended and todo.idle:
            await self._rest(todo, view)
        return ended

    async def _turn(self) -> tuple[Plan, View, bool]:
        """What is to be done, what was seen, and whether that was the last of it; whatever could be done is done."""
        await self._connect()
        again = None
        if not self.leaving:
            again = await self._resizing.settle(self.pod, self._means.cache.of(self.pod.metadata.uid))
        view = await self._look()
        todo = plan(view)
        if again is not None:
            todo.wake(view.now + again)
        self._follow_probes(view)
        if released := await self._released(view):
            self._report(view)
        else:  # once its end is told, somebody else may be given its devices
            todo.wake(view.now + self._release_at - self._means.clock.monotonic())
        if todo.finished:
            await self._disconnect()
            if self.leaving and released:
                await self._clean_up(view)
                return todo, view, True
        if todo.new_sandbox is not None or todo.starts:
            async with self._means.starts:
                await self._launch()
        elif not todo.idle:
            await self._carry_out(todo, view)
        return todo, view, False

    async def _released(self, view: View) -> bool:
        """False while the devices of a pod whose containers have all ended cannot be given back.

        Of a pod that nobody knows any more that is tried once: what is left of it is asked about until it is done.
        """
        devices, uid, clock = self._means.devices, self.pod.metadata.uid, self._means.clock
        if not devices.holds(uid) or all_running(view.records) or not (view.terminating or finished(view)):
            return True
        if clock.monotonic() < self._release_at:
            return False
        try:
            await devices.unprepare(uid)
        except ClaimFault as e:
            log.warning("pod %s/%s: %s", self.pod.metadata.namespace, self.pod.metadata.name, e)
            self._release_at = clock.monotonic() + self._release_wait
            self._release_wait = min(LONGEST_RELEASE_RETRY, 2 * self._release_wait)
            return self._orphan
        return True

    async def _launch(self) -> None:
        """Everything that can be started now, in one turn: a pod that has its sandbox is not sent to the end of the
        queue again."""
        while True:
            view = await self._look()
            todo = plan(view)
            self._report(view)
            if todo.new_sandbox is None and not todo.starts:
                return
            await self._carry_out(todo, view)

    async def _rest(self, todo: Plan, view: View) -> None:
        now, steady = self._means.clock.now(), self._means.clock.monotonic()
        period = refresh_period(self.pod) if not view.terminating and not todo.finished else None
        if period is not None and view.sandbox() is not None:
            if self._refreshed_at + period <= steady:
                self._refreshed_at = steady
                await self._starting.volumes(self.pod, again=True)
            todo.wake(now + self._refreshed_at + period - steady)
        if storage.is_limited(self.pod) and not view.terminating and not todo.finished:
            if self._measure_at <= steady:
                self._measure_at = steady + storage.PERIOD
                if await self._overfills(view):
                    return
            todo.wake(now + self._measure_at - steady)
        if (deadline := self._deadline()) is not None and deadline > now and not todo.finished:
            todo.wake(deadline)
        if todo.wake_at is None:
            await self._changed.wait()
        else:
            await first(self._changed.wait(), self._means.clock.sleep(max(0.0, todo.wake_at - now)))

    async def _overfills(self, view: View) -> bool:
        """Has the pod filled more of the disk than it may?  It is evicted then."""
        found = await storage.excess(self.pod, self._layout, self._means.runtime, view.records, self._means.machine)
        if found is None:
            return False
        self._means.metrics.evicted(found.signal)
        self.end(Ending("Evicted", found.message, LEAST_GRACE))
        return True

    async def _look(self) -> View:
        records = []
        for record in self._means.cache.of(self.pod.metadata.uid):
            if record.ended and not record.is_pause:
                again = record.id in self._again
                record = replace(record, message=await self._message(record), again=again)
            records.append(record)
        return View(
            pod=self._means.allocations.of(self.pod),
            now=self._means.clock.now(),
            records=tuple(records),
            health=self._probing.health,
            faults=self._starting.faults,
            hashes={name: fingerprint(c) for name, c in by_name(self.pod).items()},
            host_ip=self._means.host_ip,
            address=self._means.address_of(self.pod.metadata.uid) if self._connected else "",
            stopping=self._orphan,
            refusal=self._refusal(),
            rejected=self._refused is not None,
            ending=frozenset(self._ending),
            recursive_read_only=self._means.recursive_read_only(),
            resizing=self._resizing.conditions,
            disruptions=self._ended_by.conditions if self._ended_by is not None else (),
            restarts=self._resizing.restarts,
        )

    def _deadline(self) -> float | None:
        spec, status = self.pod.spec, self.pod.status
        if spec.activeDeadlineSeconds is None or not status.startTime:
            return None
        return times.parse(status.startTime) + spec.activeDeadlineSeconds

    def _refusal(self) -> tuple[str, str] | None:
        if self._ended_by is not None:
            return self._ended_by.reason, self._ended_by.message
        if not self._judged:
            self._judged = True
            self._refused = self._judge()
        if self._refused is not None:
            reason, message = self._refused
            return reason, f"Pod was rejected: {message}"
        deadline = self._deadline()
        if deadline is None or deadline > self._means.clock.now() or self.pod.status.phase in TERMINAL:
            return None  # how it has ended stands, however long ago that was
        message = "Pod was active on the node longer than the specified deadline"
        if "DeadlineExceeded" not in self._told:
            self._told.add("DeadlineExceeded")
            self._means.recorder.event(self.pod, "Normal", "DeadlineExceeded", message)
        return "DeadlineExceeded", message

    def _judge(self) -> admission.Refusal | None:
        """May the pod be here?  What runs already is not asked again, nor is what has ended."""
        if self._orphan or self.pod.status.phase in TERMINAL:
            return None
        if self._means.cache.of(self.pod.metadata.uid):
            self._means.admission.take(self.pod.metadata.uid)
            return None
        found = self._means.admission.admit(self.pod)
        if found is not None:
            self._means.recorder.event(self.pod, "Warning", *found)
        return found

    async def _connect(self) -> None:
        """Take over a sandbox that an earlier kubelet made: what connects it may be missing."""
        means, uid = self._means, self.pod.metadata.uid
        sandbox = next((r for r in sandboxes(means.cache.of(uid)) if r.running), None)
        if sandbox is None:
            self._connected.clear()
            return
        if sandbox.id in self._connected or self.leaving:
            return
        if self.pod.spec.hostNetwork:
            if means.host.node_container and not shares_network(sandbox.pid):
                await self._give_up(sandbox, "lives in a network that this node has no more")
                return
        elif means.addresses is None or not await self._reconnect(sandbox, means.addresses):
            return
        means.groups.ensure(means.allocations.of(self.pod))
        self._connected.add(sandbox.id)

    async def _reconnect(self, sandbox: Record, pool: Pool) -> bool:
        network, uid = self._means.network, self.pod.metadata.uid
        address = network.known(sandbox)
        if not address or not pool.adopt(uid, address):
            await self._give_up(sandbox, f"has the address {address or 'of another network'}, which it may not have")
            return False
        try:
            await network.attach(self.pod, sandbox, address)
        except PluginFailed as e:
            await self._give_up(sandbox, f"is not connected any more: {e}")
            return False
        return True

    async def _give_up(self, sandbox: Record, why: str) -> None:
        log.warning("the sandbox of pod %s %s", self.pod.metadata.uid, why)
        await self._remove(sandbox)

    async def _carry_out(self, todo: Plan, view: View) -> None:
        for order in todo.stops:
            self._stop(order)
        await asyncio.gather(*(self._remove(r) for r in todo.removals))
        if (todo.new_sandbox is not None or todo.starts) and not await self._starting.volumes(self.pod):
            return
        again = todo.new_sandbox is not None
        if (again or todo.starts) and not await self._starting.devices(self.pod, again=again):
            return
        if todo.new_sandbox is not None:
            made = await self._starting.sandbox(view.pod, todo.new_sandbox)
            if made is not None:
                self._connected.add(made.id)
                self._disconnected = False
        sandbox = view.sandbox()
        for start in todo.starts:
            if self.leaving or sandbox is None:
                return
            if await self._starting.container(view.pod, start, sandbox) is None and start.init:
                return

    def _stop(self, order: Stop) -> None:
        container = self._container(order.record.name)
        self._ending.add(order.record.id)
        if order.again:
            self._again.add(order.record.id)

        def grace() -> float:
            if self._hurried:
                return LEAST_GRACE
            own, ending = grace_period(self.pod, container, order), self._ended_by
            return own if ending is None or ending.grace is None else min(own, ending.grace)

        async def run() -> None:
            try:
                await stop(self._means, self.pod, container, order, grace, self._shortened)
            except EngineError as e:
                log.warning("stopping container %s: %s", order.record.id[:12], e)
                await self._means.clock.sleep(ERROR_PAUSE)
            finally:
                self._ending.discard(order.record.id)
                self.wake()

        assert self._tasks is not None
        self._tasks.create_task(run())

    def _container(self, name: str) -> Container | None:
        everyone = [*by_name(self.pod).values(), *debugging(self.pod)]
        return next((c for c in everyone if c.name == name), None)

    async def _remove(self, record: Record) -> None:
        await self._means.runtime.remove(record.id)
        self._means.cache.forget(record.id)

    async def _disconnect(self) -> None:
        """Free what only a pod with containers needs; what its volumes hold stays until it is deleted."""
        if self._disconnected:
            return
        uid = self.pod.metadata.uid
        if not self.pod.spec.hostNetwork:
            await self._means.network.detach(uid)
        if self._means.addresses is not None:
            self._means.addresses.release(uid)
        self._means.groups.release(uid)
        self._means.following.leave(self.pod)
        self._connected.clear()
        self._disconnected = True
        self._means.admission.release(uid)
        self.over.set()

    async def _clean_up(self, view: View) -> None:
        means, uid = self._means, self.pod.metadata.uid
        await asyncio.gather(*(self._remove(r) for r in means.cache.of(uid)))
        if any(v.emptyDir is not None and v.emptyDir.medium == "Memory" for v in self.pod.spec.volumes):
            await means.runtime.remove_volumes(f"wherry_{uid}_")
        await asyncio.to_thread(self._layout.remove)
        means.allocations.forget(uid)
        if self._orphan:
            means.reporter.forget(uid)
        else:
            means.reporter.report(view, last=True)

    def _report(self, view: View) -> None:
        inits, regular = self.pod.spec.initContainers, self.pod.spec.containers
        for container, init in (*((c, True) for c in inits), *((c, False) for c in regular)):
            record = view.newest(container.name or "")
            if record is None or not record.ended or record.id in self._told or view.terminating:
                continue
            if view.wanted(container, record, init=init) and restarts.delay(record, view.now):
                self._told.add(record.id)
                meta = self.pod.metadata
                self._means.recorder.event(
                    self.pod, "Warning", "BackOff",
                    f"Back-off restarting failed container {container.name} in pod "
                    f"{meta.name}_{meta.namespace}({meta.uid})",
                    field_path=field_path(self.pod, container),
                )  # fmt: skip
        self._pull_back_off(view)
        if not all_running(view.records) and (view.terminating or finished(view)):
            # Its end is told now, and somebody may send the next pod before all that was this one's is put away.
            self._means.admission.release(self.pod.metadata.uid)
        if not self._orphan:
            self._means.reporter.report(view)

    def _pull_back_off(self, view: View) -> None:
        for container in by_name(self.pod).values():
            fault = view.faults.get(container.name or "")
            if fault is None or fault.later_reason != "ImagePullBackOff" or view.now < fault.since + fault.LATER:
                continue
            mark = f"{container.name}/{fault.since}"
            if mark not in self._told:
                self._told.add(mark)
                path = field_path(self.pod, container)
                message = f'Back-off pulling image "{container.image}"'
                self._means.recorder.event(self.pod, "Normal", "BackOff", message, field_path=path)
                self._means.recorder.event(self.pod, "Warning", "Failed", "Error: ImagePullBackOff", field_path=path)

    def _follow_probes(self, view: View) -> None:
        running = []
        for name, container in by_name(self.pod).items():
            record = view.newest(name)
            if record is not None and record.running:
                running.append((container, record))
        address = self._means.host_ip if self.pod.spec.hostNetwork else view.address
        assert self._tasks is not None
        self._probing.follow(running, address, self._before, self._tasks, self._ending)

    def _before(self, identity: str) -> Health:
        """What an earlier kubelet told of a container."""
        statuses = (*self.pod.status.containerStatuses, *self.pod.status.initContainerStatuses)
        told = next((s for s in statuses if s.containerID.endswith(identity)), None)
        return Health(bool(told and told.ready), bool(told and told.started))

    def _probed(self, container: Container, reason: str, message: str) -> None:
        path = field_path(self.pod, container)
        self._means.recorder.event(self.pod, "Warning", reason, message, field_path=path)

    def _counted(self, container: Container, kind: str, result: str, seconds: float) -> None:
        self._means.metrics.probed(self.pod, container.name or "", kind, result, seconds)

    async def _message(self, record: Record) -> str:
        """The termination message of an ended container, read once.
        https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/
        """
        if record.id in self._messages:
            return self._messages[record.id]
        text = ""
        with contextlib.suppress(OSError):
            data = self._layout.termination_log(record.name, record.attempt).read_bytes()
            text = data[:MESSAGE_LIMIT].decode(errors="replace")
        container = self._container(record.name)
        fallback = container is not None and container.terminationMessagePolicy == "FallbackToLogsOnError"
        if not text and fallback and record.exit_code:
            options = LogOptions(tail=FALLBACK_LINES)
            pieces = [data async for _, data in self._means.runtime.logs(record.id, options)]
            text = b"".join(pieces)[-FALLBACK_LIMIT:].decode(errors="replace")
        self._messages[record.id] = text
        return text


def _wishes(pod: Pod) -> tuple[object, ...]:
    metadata = pod.metadata
    return metadata.deletionTimestamp, metadata.deletionGracePeriodSeconds, _shown(pod)


def _shown(pod: Pod) -> tuple[object, ...]:
    """What of its object a pod's volumes may show, and that may change."""
    return pod.metadata.labels, pod.metadata.annotations


def _told(pod: Pod) -> tuple[object, ...]:
    """What others say in its status: that it has ended, and whether its readiness gates are open."""
    gates = {gate.conditionType for gate in pod.spec.readinessGates}
    return pod.status.phase, [(c.type, c.status) for c in pod.status.conditions if c.type in gates]
