"""Pods that this node will not run, whoever sent them here.
https://kubernetes.io/docs/tasks/administer-cluster/sysctl-cluster/
"""

from collections.abc import Callable, Iterable
from typing import Protocol

from api.types import Container, Node, Pod
from kubelet.containers.security import armor_of
from kubelet.containers.sysctls import normal
from kubelet.pods import fitting
from kubelet.pods.fitting import Mismatch, Shortage
from kubelet.syncing.importance import is_critical
from kubelet.syncing.views import debugging

Refusal = tuple[str, str]
"""(reason, message)"""

# Those that cannot harm other pods of the node.
SAFE = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    }
)
SYSTEM = "linux"
OF_IPC = ("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")


def refusal(pod: Pod, allowed: Iterable[str] = (), *, armored: bool = True) -> Refusal | None:
    """`allowed` are unsafe sysctls, by name or by a beginning and `*`; `armored`: this machine has AppArmor."""
    if not armored and any(_wants_armor(pod, c) for c in _everyone(pod)):
        return "AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host"
    context = pod.spec.securityContext
    for each in context.sysctls if context is not None else ():
        if fault := _sysctl_fault(pod, normal(each.name or ""), tuple(allowed)):
            return "SysctlForbidden", f"forbidden sysctl: {fault}"
    return _system(pod)


def _system(pod: Pod) -> Refusal | None:
    if pod.metadata.labels.get("kubernetes.io/os", SYSTEM) != SYSTEM:
        why = "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label"
        return "PodOSSelectorNodeLabelDoesNotMatch", why
    if pod.spec.os is not None and pod.spec.os.name != SYSTEM:
        return "PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS"
    return None


def _everyone(pod: Pod) -> list[Container]:
    return [*pod.spec.initContainers, *pod.spec.containers, *debugging(pod)]


def _wants_armor(pod: Pod, container: Container) -> bool:
    profile = armor_of(pod, container)
    return profile is not None and profile.type != "Unconfined"


def _sysctl_fault(pod: Pod, name: str, allowed: tuple[str, ...]) -> str:
    known = name in SAFE or any(
        name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern for pattern in allowed
    )
    if not known:
        return f'"{name}" not allowlisted'
    if name.startswith("net.") and pod.spec.hostNetwork:
        return f'"{name}" not allowed with host net enabled'
    if name.startswith(OF_IPC) and pod.spec.hostIPC:
        return f'"{name}" not allowed with host ipc enabled'
    return ""


class Admission(Protocol):
    def admit(self, pod: Pod) -> Refusal | None:
        """Once for each pod that has no containers here yet."""
        ...

    def take(self, uid: str) -> None:
        """A pod that runs already: what it was given it keeps."""
        ...

    def release(self, uid: str) -> None:
        """Nothing of the pod runs any more."""
        ...


class Open:
    """Implements `Admission` for a node that has room for everything."""

    def __init__(self, allowed_sysctls: Iterable[str] = (), *, armored: bool = True) -> None:
        self._allowed_sysctls = tuple(allowed_sysctls)
        self._armored = armored

    def admit(self, pod: Pod) -> Refusal | None:
        return refusal(pod, self._allowed_sysctls, armored=self._armored)

    def take(self, uid: str) -> None:
        return

    def release(self, uid: str) -> None:
        return


class Gate(Open):
    """Implements `Admission`.  `node` is this node as it is now, `pods` are all that are assigned to it, `pressure`
    says why one cannot come at this moment, and `preempt` ends one for the sake of another."""

    def __init__(
        self, node: Callable[[], Node], pods: Callable[[], Iterable[Pod]], pressure: Callable[[Pod], Refusal | None],
        preempt: Callable[[Pod], None], allowed_sysctls: Iterable[str] = (), *, armored: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(allowed_sysctls, armored=armored)
        self._node = node
        self._pods = pods
        self._pressure = pressure
        self._preempt = preempt
        # Those that came in and have not ended: of two that arrive together only the second one may be too much.
        self._inside: set[str] = set()

    def admit(self, pod: Pod) -> Refusal | None:
        found = self._pressure(pod) or super().admit(pod) or self._fit(pod)
        if found is None:
            self._inside.add(pod.metadata.uid)
        return found

    def take(self, uid: str) -> None:
        self._inside.add(uid)

    def release(self, uid: str) -> None:
        self._inside.discard(uid)

    def _fit(self, pod: Pod) -> Refusal | None:
        others = [p for p in self._pods() if p.metadata.uid in self._inside and p.metadata.uid != pod.metadata.uid]
        found = fitting.misfits(pod, self._node(), others)
        if is_critical(pod):
            mismatches = [m for m in found if isinstance(m, Mismatch)]
            if found and not mismatches:
                return self._make_room(pod, others, [m for m in found if isinstance(m, Shortage)])
            found = [*mismatches]
        return (found[0].reason, found[0].message) if found else None

    def _make_room(self, pod: Pod, others: list[Pod], short: list[Shortage]) -> Refusal | None:
        chosen = fitting.victims(pod, others, short)
        if chosen is None:
            needs = "".join(f"(res: {s.resource}, q: {s.missing}), " for s in short)
            why = (
                f"error finding a set of pods to preempt: no set of running pods found to reclaim resources: [{needs}]"
            )
            words = "Unexpected error while attempting to recover from admission failure"
            return "UnexpectedAdmissionError", f"{words}: preemption: {why}"
        for victim in chosen:
            self.release(victim.metadata.uid)
            self._preempt(victim)
        return None
