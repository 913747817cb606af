"""A pod's status as upstream writes it, from what is known of its containers."""

from collections.abc import Sequence

from api import meta, restart_rules, times
from api.qos import qos_class
from api.types import (
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    ContainerUser,
    HostIP,
    LinuxContainerUser,
    Pod,
    PodIP,
    PodStatus,
    ResourceRequirements,
    VolumeMount,
    VolumeMountStatus,
)  # fmt: skip
from kubelet.runtime.interfaces import Record
from kubelet.syncing import conditions, endings, restarts
from kubelet.syncing.restarts import is_sidecar
from kubelet.syncing.views import View, all_running, debugging

TERMINAL = ("Succeeded", "Failed")


def pod_status(view: View) -> PodStatus:
    """The whole status: compare it with the last one and write the difference."""
    pod, old = view.pod, view.pod.status
    status = PodStatus(
        observedGeneration=pod.metadata.generation or 0,
        qosClass=old.qosClass or qos_class(pod.spec),
        startTime=old.startTime or times.format(view.now),
        nominatedNodeName="",
    )
    if not (view.rejected or (old.phase in TERMINAL and not old.containerStatuses)):
        status.initContainerStatuses = [_container_status(view, c, init=True) for c in pod.spec.initContainers]
        status.containerStatuses = sorted(
            (_container_status(view, c) for c in pod.spec.containers), key=lambda s: s.name or ""
        )
    status.ephemeralContainerStatuses = [
        _container_status(view, c) for c in debugging(pod) if view.newest(c.name) or c.name in view.faults
    ]
    status.phase = old.phase if old.phase in TERMINAL else "Failed" if view.rejected else phase(view, status)
    if view.refusal is not None:
        status.phase = "Failed"
        status.reason, status.message = view.refusal
    elif old.phase in TERMINAL:
        status.reason, status.message = old.reason, old.message
    if status.phase in TERMINAL and old.phase not in TERMINAL and all_running(view.records):
        # While something of it runs, a sidecar too, the pod is not over: whoever replaces it would run it twice.
        status.phase, status.reason, status.message = old.phase or "Running", old.reason, old.message
    if status.phase in TERMINAL:
        endings.settle(pod, status)
    _addresses(view, status)
    sandbox = view.sandbox()
    if sandbox is not None and pod.spec.resources is not None:
        _whole(view, pod.spec.resources, status)
    ready = sandbox is not None and bool(view.address or pod.spec.hostNetwork)
    status.conditions = conditions.conditions(
        pod, status, sandbox_ready=ready, resizing=view.resizing, disruptions=view.disruptions,
        restarting=view.restarting,
    )  # fmt: skip
    _times(view, status)
    return status


def phase(view: View, status: PodStatus) -> str:
    """https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-phase"""
    pod = view.pod
    pending_init = False
    regular = status.containerStatuses
    started = any(s.state.running or s.state.terminated or s.lastState.terminated for s in regular)
    for container, each in zip(pod.spec.initContainers, status.initContainerStatuses, strict=True):
        if is_sidecar(container):
            pending_init = pending_init or (not started and not each.started)
            continue
        ended = each.state.terminated or (each.lastState.terminated if each.state.waiting else None)
        code = ended.exitCode or 0 if ended is not None else 0
        if code and not restart_rules.follows(pod, container, code) and not view.renews(container):
            return "Failed"
        if not started and not (each.state.terminated and each.state.terminated.exitCode == 0):
            pending_init = True
    running = [s for s in regular if s.state.running]
    stopped = [s for s in regular if s.state.terminated or (s.state.waiting and s.lastState.terminated)]
    if pending_init and not _over(view):
        return "Pending"
    if len(running) + len(stopped) < len(regular):
        return "Failed" if _over(view) else "Pending"
    if running or not stopped:
        return "Running"
    codes = [ended.exitCode for s in stopped if (ended := s.state.terminated or s.lastState.terminated)]
    if _over(view) or not any(view.wanted(c, view.newest(c.name)) for c in pod.spec.containers if view.newest(c.name)):
        return "Failed" if any(codes) else "Succeeded"
    return "Running"


def _over(view: View) -> bool:
    """The pod is being ended and nothing of it runs any more: what its containers are now is how it ended."""
    return view.terminating and not any(r.running for r in view.records if not r.is_pause)


def _container_status(view: View, container: Container, *, init: bool = False) -> ContainerStatus:
    history = view.history(container.name)
    record = next((r for r in history if r.started_at or r.ended), None)
    status = ContainerStatus(name=container.name, image=container.image, imageID="", ready=False, started=False)
    status.restartCount = record.attempt if record else _old_count(view.pod, container.name)
    status.volumeMounts = [
        VolumeMountStatus(
            name=m.name, mountPath=m.mountPath, readOnly=m.readOnly or None,
            recursiveReadOnly=_recursion(view, m) if m.readOnly else "",
        )
        for m in container.volumeMounts
    ]  # fmt: skip
    if record is None:
        _never_ran(view, container, status)
        return status
    status.containerID = f"docker://{record.id}"
    status.imageID = f"docker://{record.image_id}" if record.image_id else ""
    status.image = record.image or container.image
    status.user = _user(view.pod, record, status.containerID)
    previous = next((r for r in history if r.attempt < record.attempt and r.ended), None)
    if previous is not None:
        status.lastState = ContainerState(terminated=terminated(previous))
    if record.running:
        _runs(view, container, record, status, init=init)
    else:
        _ended(view, container, record, status, init=init)
    return status


def _user(pod: Pod, record: Record, container: str) -> ContainerUser | None:
    """Whom the first process began as; for one that ended unseen by this kubelet, what was told before."""
    if (who := record.identity) is None:
        return next((s.user for s in _old_statuses(pod) if s.containerID == container), None)
    linux = LinuxContainerUser(uid=who.user, gid=who.group, supplementalGroups=list(who.groups))
    return ContainerUser(linux=linux)


def _recursion(view: View, mount: VolumeMount) -> str:
    wanted = mount.recursiveReadOnly in ("Enabled", "IfPossible")
    return "Enabled" if wanted and view.recursive_read_only else "Disabled"


def _never_ran(view: View, container: Container, status: ContainerStatus) -> None:
    if (lost := _lost(view, container.name)) is not None:
        status.state = ContainerState(terminated=lost)
        return
    reason, message = _not_yet(view), ""
    if fault := view.faults.get(container.name):
        reason, message = fault.shown(view.now)
    status.state = ContainerState(waiting=ContainerStateWaiting(reason=reason, message=message))


def _not_yet(view: View) -> str:
    """Why a container waits that nothing is wrong with; so init containers wait, too."""
    return "PodInitializing" if view.pod.spec.initContainers else "ContainerCreating"


def _lost(view: View, name: str) -> ContainerStateTerminated | None:
    """How a container ended that the engine no longer has, while its pod ends or has ended."""
    old = next((s for s in _old_statuses(view.pod) if s.name == name), None)
    if old is None or not (view.terminating or view.pod.status.phase in TERMINAL):
        return None
    if old.state.terminated is not None:
        return old.state.terminated
    return endings.unknown() if old.state.running is not None else None


def _runs(view: View, container: Container, record: Record, status: ContainerStatus, *, init: bool) -> None:
    health = view.health_of(record)
    status.state = ContainerState(running=ContainerStateRunning(startedAt=times.format(record.started_at)))
    status.started = health.started
    sidecar = init and is_sidecar(container)
    status.ready = (not init or sidecar) and health.started and health.ready
    _promised(container, status)
    old = next((s for s in _old_statuses(view.pod) if s.name == container.name), None)
    # While a resize is under way, or could not be done, the container has what was told last.
    under_way = any(c.type == "PodResizeInProgress" for c in view.resizing)
    if under_way and old is not None and old.resources is not None:
        status.resources = old.resources


def _promised(container: Container, status: ContainerStatus) -> None:
    has = container.resources
    status.resources = ResourceRequirements(requests=dict(has.requests), limits=dict(has.limits))
    status.allocatedResources = dict(has.requests)


def _whole(view: View, promised: ResourceRequirements, status: PodStatus) -> None:
    """What the pod has and was promised as a whole."""
    old = view.pod.status.resources
    under_way = any(c.type == "PodResizeInProgress" for c in view.resizing)
    status.resources = old if under_way and old is not None else promised
    status.allocatedResources = dict(promised.requests)


def _ended(view: View, container: Container, record: Record, status: ContainerStatus, *, init: bool) -> None:
    ended = terminated(record)
    status.state = ContainerState(terminated=ended)
    plain_init = init and not is_sidecar(container)
    status.ready = plain_init and ended.exitCode == 0
    if not plain_init:
        _promised(container, status)
    if view.terminating or view.pod.status.phase in TERMINAL:
        return
    if not view.wanted(container, record, init=init):
        return
    waiting = None
    if fault := view.faults.get(container.name):
        waiting = fault.shown(view.now)
    elif restarts.delay(record, view.now):
        waiting = "CrashLoopBackOff", restarts.message(view.pod, container.name, record)
    elif view.outdated(record):
        waiting = _not_yet(view), ""
    if waiting is not None:
        status.lastState = ContainerState(terminated=ended)
        status.state = ContainerState(waiting=ContainerStateWaiting(reason=waiting[0], message=waiting[1]))


def terminated(record: Record) -> ContainerStateTerminated:
    code = restarts.exit_code(record)
    reason = "Completed" if code == 0 else "Error"
    # In cgroup v1 the engine is told of every container below a group that has run out, of the node's and of the pod's
    # too.  Only what a SIGKILL has ended can have been chosen; a shell passes on that its last child was.
    if record.oom_killed and code == endings.KILLED:
        reason = "OOMKilled"
    elif record.error and not record.started_at:
        # As the shim for Docker says it; those for other engines say StartError.
        reason = "ContainerCannotRun"
    return ContainerStateTerminated(
        exitCode=code,
        reason=reason,
        message=record.message or record.error,
        startedAt=times.format(record.started_at or record.created_at),
        finishedAt=times.format(record.finished_at or record.created_at),
        containerID=f"docker://{record.id}",
    )


def _old_statuses(pod: Pod) -> Sequence[ContainerStatus]:
    return [*pod.status.containerStatuses, *pod.status.initContainerStatuses, *pod.status.ephemeralContainerStatuses]


def _old_count(pod: Pod, name: str) -> int:
    return next((s.restartCount or 0 for s in _old_statuses(pod) if s.name == name), 0)


def _addresses(view: View, status: PodStatus) -> None:
    pod = view.pod
    status.hostIP = view.host_ip
    status.hostIPs = [HostIP(ip=view.host_ip)] if view.host_ip else []
    address = view.host_ip if pod.spec.hostNetwork and view.sandbox() else view.address
    if not address and (view.terminating or status.phase in TERMINAL):
        address = pod.status.podIP  # the address that an ended pod had stays readable
    status.podIP = address
    status.podIPs = [PodIP(ip=address)] if address else []


def _times(view: View, status: PodStatus) -> None:
    now = times.format(view.now)
    generation = view.pod.metadata.generation
    for condition in status.conditions:
        if not conditions.is_own(condition.type, condition.reason):
            continue
        condition.observedGeneration = generation
        old = meta.condition(view.pod, condition.type or "")
        same = old is not None and old.status == condition.status and old.lastTransitionTime
        condition.lastTransitionTime = old.lastTransitionTime if same and old else now
