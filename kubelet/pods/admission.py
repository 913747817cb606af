"""Pods that this node will not run, whoever sent them here.
https://kubernetes.io/docs/tasks/administer-cluster/sysctl-cluster/
"""

from collections.abc import Iterable

from api.types import Container, Pod
from kubelet.containers.security import armor_of
from kubelet.containers.sysctls import normal
from kubelet.syncing.views import debugging

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
OF_IPC = ("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")


def refusal(pod: Pod, allowed: Iterable[str] = (), *, armored: bool = True) -> tuple[str, str] | None:
    """(reason, message), or None.  `allowed` are unsafe sysctls, by name or by a beginning and `*`; `armored`: this
    machine has AppArmor."""
    if not armored and any(_wants_armor(pod, c) for c in _everyone(pod)):
        return "AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host"
    context = pod.spec.securityContext
    if context is not None and context.supplementalGroupsPolicy == "Strict":
        why = "SupplementalGroupsPolicy=Strict is not supported in this node"
        return "SupplementalGroupsPolicyNotSupported", why
    for each in context.sysctls if context is not None else ():
        if fault := _sysctl_fault(pod, normal(each.name or ""), tuple(allowed)):
            return "SysctlForbidden", f"forbidden sysctl: {fault}"
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
