"""The table of pods: one word that says what is the matter with a pod.

The rules are kubectl's own of old (https://kubernetes.io/docs/tasks/debug/debug-application/debug-init-containers/).
"""

from typing import Any

from api.types import Container, ContainerStatus, Pod
from apiserver.rest.tables.columns import Printer, age, columns, containers, label_map, since


def cells(pod: Pod, now: float) -> list[Any]:
    initializing, reason, ready, restarts, last = _init_containers(pod)
    total = len(pod.spec.containers) + len(_sidecars(pod))
    if not initializing or _is_true(pod, "Initialized"):
        reason, ready, restarts, last = _containers(pod, reason, ready)
    if pod.metadata.deletionTimestamp:
        if pod.status.reason == "NodeLost":
            reason = "Unknown"
        elif pod.status.phase not in ("Succeeded", "Failed"):
            reason = "Terminating"
    ip = pod.status.podIPs[0].ip if pod.status.podIPs else pod.status.podIP
    return [
        pod.metadata.name, f"{ready}/{total}", reason,
        f"{restarts} ({since(last, now)} ago)" if restarts and last else str(restarts),
        age(pod, now), ip or "<none>", pod.spec.nodeName or "<none>",
        pod.status.nominatedNodeName or "<none>", _gates(pod),
    ]  # fmt: skip


def conditions(pod: Pod) -> list[dict[str, str]]:
    match pod.status.phase:
        case "Succeeded":
            why = {"reason": "Succeeded", "message": "The pod has completed successfully."}
        case "Failed":
            why = {"reason": "Failed", "message": "The pod failed."}
        case _:
            return []
    return [{"type": "Completed", "status": "True", **why}]


def _summary(pod: Pod) -> str:
    if any(c.type == "PodScheduled" and c.reason == "SchedulingGated" for c in pod.status.conditions):
        return "SchedulingGated"
    return pod.status.reason or pod.status.phase


def _sidecars(pod: Pod) -> set[str]:
    def restartable(container: Container) -> bool:
        return container.restartPolicy == "Always"

    return {c.name or "" for c in pod.spec.initContainers if restartable(c)}


def _init_containers(pod: Pod) -> tuple[bool, str, int, int, str]:
    """(still initializing?, reason, ready sidecars, restarts, the last one's time) of the init containers."""
    reason, ready, restarts, last = _summary(pod), 0, 0, ""
    sidecars = _sidecars(pod)
    for at, status in enumerate(pod.status.initContainerStatuses):
        restarts += status.restartCount or 0
        last = max(last, _finished(status))
        ended, waiting = status.state.terminated, status.state.waiting
        if ended is not None and ended.exitCode == 0:
            continue
        if status.name in sidecars and status.started:
            ready += bool(status.ready)
            continue
        if ended is not None:
            reason = "Init:" + (ended.reason or _exit(ended))
        elif waiting is not None and waiting.reason and waiting.reason != "PodInitializing":
            reason = f"Init:{waiting.reason}"
        else:
            reason = f"Init:{at}/{len(pod.spec.initContainers)}"
        return True, reason, ready, restarts, last
    return False, reason, ready, restarts, last


def _containers(pod: Pod, reason: str, ready: int) -> tuple[str, int, int, str]:
    """(reason, ready, restarts, the last one's time), sidecars included, once the pod is initialized."""
    sidecars = _sidecars(pod)
    beside = [s for s in pod.status.initContainerStatuses if s.name in sidecars]
    restarts = sum(s.restartCount or 0 for s in (*beside, *pod.status.containerStatuses))
    last = max((_finished(s) for s in (*beside, *pod.status.containerStatuses)), default="")
    running = False
    for status in reversed(pod.status.containerStatuses):
        ended, waiting = status.state.terminated, status.state.waiting
        if waiting is not None and waiting.reason:
            reason = waiting.reason
        elif ended is not None:
            reason = ended.reason or _exit(ended)
        elif status.ready and status.state.running is not None:
            running = True
            ready += 1
    if reason == "Completed" and running:
        reason = "Running" if _is_true(pod, "Ready") else "NotReady"
    return reason, ready, restarts, last


def _finished(status: ContainerStatus) -> str:
    ended = status.lastState.terminated
    return ended.finishedAt if ended is not None else ""


def _exit(ended: Any) -> str:
    return f"Signal:{ended.signal}" if ended.signal else f"ExitCode:{ended.exitCode}"


def _is_true(pod: Pod, type_: str) -> bool:
    return any(c.type == type_ and c.status == "True" for c in pod.status.conditions)


def _gates(pod: Pod) -> str:
    gates = pod.spec.readinessGates
    if not gates:
        return "<none>"
    return f"{sum(_is_true(pod, g.conditionType or '') for g in gates)}/{len(gates)}"


def _template(obj: Any, now: float) -> list[Any]:
    return [
        obj.metadata.name,
        *containers(obj.template),
        label_map(obj.template.metadata.labels if obj.template else {}),
    ]


PRINTERS = {
    ("v1", "Pod"): Printer(
        "Pod",
        columns("Name Ready Status Restarts Age IP* Node* Nominated_Node* Readiness_Gates*"),
        cells,
        conditions,
    ),
    ("v1", "PodTemplate"): Printer("PodTemplate", columns("Name Containers Images Pod_Labels"), _template),
}
