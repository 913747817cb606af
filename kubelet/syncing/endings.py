"""How containers ended that nobody saw end: a pod that is over must not look as if something of it still waited."""

from api.types import Container, ContainerState, ContainerStateTerminated, ContainerStatus, Pod, PodStatus
from kubelet.syncing.restarts import is_sidecar

KILLED = 128 + 9  # the exit code of what a SIGKILL has ended


def unknown() -> ContainerStateTerminated:
    return ContainerStateTerminated(
        exitCode=KILLED, reason="ContainerStatusUnknown",
        message="The container could not be located when the pod was terminated",
    )  # fmt: skip


def settle(pod: Pod, status: PodStatus) -> None:
    """Of a pod that is over, no container is left waiting that the pod had come to.

    As upstream's status manager has it: those of a pod that had initialized have all ended, and of its init containers
    the ones up to the last that ever started, or the first.  The others wait for ever, which tells where it ended.
    """
    inits = status.initContainerStatuses
    reached = [i for i, each in enumerate(inits) if _has_started(each)]
    due = inits[: max(reached, default=0) + 1]
    if _initialized(pod.spec.initContainers, status):
        due = [*due, *status.containerStatuses]
    for each in due:
        if each.state.terminated is None:
            each.state = ContainerState(terminated=unknown())


def _has_started(status: ContainerStatus) -> bool:
    return status.state.waiting is None or status.lastState.terminated is not None


def _initialized(inits: list[Container], status: PodStatus) -> bool:
    if not inits or any(map(_has_started, status.containerStatuses)):
        return True
    if not status.initContainerStatuses:
        return False
    last = status.initContainerStatuses[-1]
    if is_sidecar(inits[-1]):
        return last.state.running is not None and bool(last.started)
    ends = (last.state.terminated, last.lastState.terminated)
    return any(end is not None and not end.exitCode for end in ends)
