"""What to do next for one pod: upstream's computePodActions, as a function without effects.

The worker carries a plan out in this order: stops (all at once), removals, the sandbox, starts (one after the other).
Whatever happens meanwhile, it then looks again and makes a new plan; a plan is never resumed.
"""

from dataclasses import dataclass, field

from api import restart_rules
from api.types import Container
from kubelet.runtime.interfaces import HASH, Record
from kubelet.syncing import restarts
from kubelet.syncing.restarts import is_sidecar
from kubelet.syncing.views import Health, View, all_running, debugging, sidecars


@dataclass(frozen=True, slots=True)
class Stop:
    """Kill with grace.  `message` is told in the event Killing."""

    record: Record
    message: str
    reason: str = ""  # the probe that asked for it, whose own grace period then holds
    again: bool = False  # another instance is to follow, whatever this one exits with
    at_once: bool = False  # without a hook and without grace
    after: tuple[str, ...] = ()  # ids of those that end first, if the grace allows; its hook does not wait for them


@dataclass(frozen=True, slots=True)
class Start:
    container: Container
    attempt: int
    backoff: float
    init: bool = False
    target: str = ""  # the name of the container whose processes it is to see
    round: int = 0


@dataclass(slots=True)
class Plan:
    stops: list[Stop] = field(default_factory=list)
    removals: list[Record] = field(default_factory=list)
    new_sandbox: int | None = None  # its attempt
    starts: list[Start] = field(default_factory=list)
    wake_at: float | None = None  # something is due then, even if nothing changes before
    finished: bool = False  # no container of this pod runs or will run

    def wake(self, at: float) -> None:
        self.wake_at = at if self.wake_at is None else min(self.wake_at, at)

    @property
    def idle(self) -> bool:
        return not (self.stops or self.removals or self.starts or self.new_sandbox is not None)


def plan(view: View) -> Plan:
    if view.terminating or finished(view):
        return _end(view)
    result = Plan()
    sandbox = view.sandbox()
    if sandbox is None:
        _rebuild(view, result)
        return result
    result.removals = _garbage(view, sandbox)
    if _cleared(view, result) and _initialized(view, sandbox, result):
        for container in view.pod.spec.containers:
            _regular(view, container, sandbox, result)
    _ephemeral(view, sandbox, result)
    return result


def finished(view: View) -> bool:
    """Every container has ended and none will be started again: the pod's phase is terminal.

    It holds for what the API server has already been told, too: a terminal phase is never taken back.
    """
    pod = view.pod
    if pod.status.phase in ("Succeeded", "Failed"):
        return True
    for container in pod.spec.initContainers:
        record = view.newest(container.name)
        if record is None or not record.ended or is_sidecar(container):
            continue
        if restarts.exit_code(record) != 0 and not view.wanted(container, record, init=True):
            return True
    newest = [(c, view.newest(c.name)) for c in pod.spec.containers]
    return all(r is not None and r.ended and not view.wanted(c, r) for c, r in newest)


def _rebuild(view: View, result: Plan) -> None:
    """The sandbox is not there: nothing that runs in it has a network, so all of it goes first."""
    result.stops = [
        Stop(r, f"Stopping container {r.name}") for r in all_running(view.records) if r.id not in view.ending
    ]
    if result.stops or any(r.running for r in view.records if not r.is_pause):
        return
    old = view.sandboxes()
    result.removals = [r for r in old if not r.running]
    fault = view.faults.get("")
    if fault is not None and fault.holds(view.now):
        result.wake(fault.next_change(view.now))
        return
    result.new_sandbox = old[0].attempt + 1 if old else 0


def _end(view: View) -> Plan:
    """Regular containers first, then sidecars one by one in reverse order, then the sandbox.

    All are told at once, for the hooks of all run at the same time and the grace is that of the whole pod: what its
    turn has not come to when it is over ends with the others.
    https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#termination-with-sidecars
    """
    result = Plan()
    running = all_running(view.records)
    turns = {c.name: turn for turn, c in enumerate(reversed(sidecars(view.pod)), 1)}
    for record in running:
        turn = turns.get(record.name, 0)
        before = tuple(r.id for r in running if turns.get(r.name, 0) < turn)
        if record.id not in view.ending:
            result.stops.append(Stop(record, f"Stopping container {record.name}", after=before))
    if running:
        return result
    result.removals = view.sandboxes()
    result.finished = not result.removals
    return result


def _cleared(view: View, result: Plan) -> bool:
    """End what is of an earlier round, all at once and in no order; True once none of it runs."""
    old = [r for r in all_running(view.records) if view.outdated(r)]
    result.stops = [Stop(r, f"Stopping container {r.name}", at_once=True) for r in old if r.id not in view.ending]
    return not old


def _initialized(view: View, sandbox: Record, result: Plan) -> bool:
    """Start what is next among the init containers; True once the regular ones may start.

    https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#detailed-behavior
    """
    pod = view.pod
    regular_started = any(view.current(c.name, sandbox) for c in pod.spec.containers)
    for container in pod.spec.initContainers:
        record = view.current(container.name, sandbox)
        if is_sidecar(container):
            _keep(view, container, sandbox, result, init=True)
            started = record is not None and record.running and view.health_of(record).started
            if not started and not regular_started:
                return False
        elif regular_started or (record is not None and record.ended and restarts.exit_code(record) == 0):
            continue
        else:
            if record is None or not record.running:
                _start(view, container, record, result, init=True)
            return False
    return True


def _regular(view: View, container: Container, sandbox: Record, result: Plan) -> None:
    _keep(view, container, sandbox, result, init=False)


def _keep(view: View, container: Container, sandbox: Record, result: Plan, *, init: bool) -> None:
    """Keep one running: start it where there is none, restart it where it ended, kill it where it is wrong."""
    record = view.current(container.name, sandbox)
    if record is not None and record.running:
        if record.id not in view.ending and (stop := _wrong(view, container, record, init=init)):
            result.stops.append(stop)
        return
    newest = record or view.newest(container.name)
    # A new sandbox asks for new instances, but one that has done its work for good is not repeated.
    if newest is not None and newest.ended and not view.wanted(container, newest, init=init):
        return
    _start(view, container, record, result, init=init)


def _start(view: View, container: Container, record: Record | None, result: Plan, *, init: bool) -> None:
    """Plan its start, now or when its back-off or the fault of the last try is over."""
    newest = record or view.newest(container.name)
    for name in (container.name, ""):  # "" stands for what all of them need: the volumes
        if (fault := view.faults.get(name)) and fault.holds(view.now):
            result.wake(fault.next_change(view.now))
            return
    last = newest if newest is not None and view.outdated(newest) else record
    if last is not None and last.ended:
        if not view.wanted(container, last, init=init):
            return
        if wait := restarts.delay(last, view.now):
            result.wake(view.now + wait)
            return
    if newest is not None and not newest.ended:
        # Created and never started: what it was created for may be stale.  The same attempt is made anew.
        result.removals.append(newest)
        older = view.history(container.name)[1:]
        backoff = restarts.next_backoff(older[0] if older else None)
        result.starts.append(Start(container, newest.attempt, backoff, init, round=view.round))
        return
    attempt = newest.attempt + 1 if newest is not None else _known_attempts(view, container.name)
    result.starts.append(Start(container, attempt, restarts.next_backoff(newest), init, round=view.round))


def _known_attempts(view: View, name: str) -> int:
    """Containers may have been removed by hand; the count that the API server has must not go back."""
    statuses = [*view.pod.status.containerStatuses, *view.pod.status.initContainerStatuses]
    known = next((s for s in statuses if s.name == name), None)
    return (known.restartCount or 0) + 1 if known is not None and known.containerID else 0


def _wrong(view: View, container: Container, record: Record, *, init: bool) -> Stop | None:
    """Why a running container must be killed, if it must."""
    wanted = view.hashes.get(container.name, "")
    if wanted and record.labels.get(HASH, wanted) != wanted:
        return Stop(record, f"Container {container.name} definition changed, will be restarted", again=True)
    if container.name in view.restarts:
        return Stop(record, f"Container {container.name} resize requires restart", again=True)
    health: Health = view.health_of(record)
    if health.failed:
        if init:
            return Stop(record, f"Init container {container.name} failed {health.failed} probe", health.failed, True)
        again = restart_rules.policy(view.pod, container) != "Never"
        after = ", will be restarted" if again else ""
        return Stop(record, f"Container {container.name} failed {health.failed} probe{after}", health.failed, again)
    return None


def _ephemeral(view: View, sandbox: Record, result: Plan) -> None:
    """Debugging containers are started once and never again."""
    targets = {e.name: e.targetContainerName for e in view.pod.spec.ephemeralContainers}
    for container in debugging(view.pod):
        if view.newest(container.name) is not None:
            continue
        holding = [f for n in (container.name, "") if (f := view.faults.get(n)) and f.holds(view.now)]
        for fault in holding:
            result.wake(fault.next_change(view.now))
        if not holding:
            result.starts.append(Start(container, 0, 0.0, target=targets[container.name]))


def _garbage(view: View, sandbox: Record) -> list[Record]:
    """Other sandboxes, and of each container all ended instances but the newest two: what is, and its last state.

    Another sandbox runs if the engine was told to start it by a kubelet that has died, and did so late.
    """
    old = [r for r in view.sandboxes() if r.id != sandbox.id]
    for name in {r.name for r in view.records if not r.is_pause}:
        old += [r for r in view.history(name)[2:] if r.ended]
    return old
