"""Security contexts: https://kubernetes.io/docs/tasks/configure-pod-container/security-context/"""

import re

from api.paths import Path, duplicate, forbidden, invalid, not_supported, required
from api.types import AppArmorProfile, PodSpec, SeccompProfile, SecurityContext, Sysctl
from apiserver.rules.validation.values import Faults, descending, optional, user_or_group

PROFILES = {"Localhost", "RuntimeDefault", "Unconfined"}
SYSCTL_SEGMENT = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
SYSCTL = rf"({SYSCTL_SEGMENT}[\./])*{SYSCTL_SEGMENT}"
IPC_SYSCTLS = ("kernel.shm", "kernel.msg", "fs.mqueue.")


def of_pod(path: Path, spec: PodSpec) -> Faults:
    """`securityContext` of a pod."""
    it = spec.securityContext
    if it is None:
        return
    yield from user_or_group(path.child("fsGroup"), it.fsGroup)
    yield from user_or_group(path.child("runAsUser"), it.runAsUser)
    yield from user_or_group(path.child("runAsGroup"), it.runAsGroup)
    for i, group in enumerate(it.supplementalGroups):
        yield from user_or_group(path.child("supplementalGroups").index(i), group)
    if spec.shareProcessNamespace and spec.hostPID:
        why = "ShareProcessNamespace and HostPID cannot both be enabled"
        yield invalid(path.child("shareProcessNamespace"), True, why)
    if it.sysctls:
        yield from _sysctls(path.child("sysctls"), it.sysctls, spec)
    yield from optional(path.child("fsGroupChangePolicy"), it.fsGroupChangePolicy, {"OnRootMismatch", "Always"})
    if it.seccompProfile is not None:
        yield from _seccomp(path.child("seccompProfile"), it.seccompProfile)
    if it.appArmorProfile is not None:
        yield from _app_armor(path.child("appArmorProfile"), it.appArmorProfile)
    yield from optional(path.child("supplementalGroupsPolicy"), it.supplementalGroupsPolicy, {"Merge", "Strict"})
    yield from optional(path.child("seLinuxChangePolicy"), it.seLinuxChangePolicy, {"Recursive", "MountOption"})


def of_container(path: Path, it: SecurityContext, *, host_users: bool) -> Faults:
    """`securityContext` of a container. `host_users`: the pod shares the host's user namespace."""
    yield from user_or_group(path.child("runAsUser"), it.runAsUser)
    yield from user_or_group(path.child("runAsGroup"), it.runAsGroup)
    if it.procMount:
        if it.procMount not in ("Default", "Unmasked"):
            yield not_supported(path.child("procMount"), it.procMount, ("Default", "Unmasked"))
        if host_users and it.procMount == "Unmasked":
            yield invalid(path.child("procMount"), it.procMount, "`hostUsers` must be false to use `Unmasked`")
    if it.seccompProfile is not None:
        yield from _seccomp(path.child("seccompProfile"), it.seccompProfile)
    if it.allowPrivilegeEscalation is False:
        if it.privileged:
            yield invalid(path, it, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true")
        if it.capabilities is not None and "CAP_SYS_ADMIN" in it.capabilities.add:
            why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            yield invalid(path, it, why)
    if it.appArmorProfile is not None:
        yield from _app_armor(path.child("appArmorProfile"), it.appArmorProfile)


def _seccomp(path: Path, it: SeccompProfile) -> Faults:
    if not it.type:
        yield required(path.child("type"), "type is required when seccompProfile is set")
    elif it.type not in PROFILES:
        yield not_supported(path.child("type"), it.type, PROFILES)
    at = path.child("localhostProfile")
    if it.type == "Localhost":
        if not it.localhostProfile:
            yield required(at, "must be set when seccomp type is Localhost")
        else:
            yield from descending(at, it.localhostProfile)
    elif it.localhostProfile:
        yield invalid(at, it, "can only be set when seccomp type is Localhost")


def _app_armor(path: Path, it: AppArmorProfile) -> Faults:
    at = path.child("localhostProfile")
    if it.type == "Localhost":
        if not it.localhostProfile.strip():
            yield required(at, "must be set when AppArmor type is Localhost")
        elif it.localhostProfile != it.localhostProfile.strip():
            yield invalid(at, it.localhostProfile, "must not be padded with whitespace")
    elif not it.type:
        yield required(path.child("type"), "type is required when appArmorProfile is set")
    elif it.type not in PROFILES:
        yield not_supported(path.child("type"), it.type, PROFILES)
    elif it.localhostProfile:
        yield invalid(at, it.localhostProfile, "can only be set when AppArmor type is Localhost")


def _sysctls(path: Path, sysctls: list[Sysctl], spec: PodSpec) -> Faults:
    seen: set[str] = set()
    for i, sysctl in enumerate(sysctls):
        at, name = path.index(i).child("name"), sysctl.name or ""
        if not name:
            yield required(at)
        elif len(name) > 253 or not re.fullmatch(SYSCTL, name):
            yield invalid(at, name, f"must have at most 253 characters and match regex ^{SYSCTL}$")
        elif name in seen:
            yield duplicate(at, name)
        dotted = name.replace("/", ".")
        if spec.hostNetwork and dotted.startswith("net."):
            yield invalid(at, name, "may not be specified when 'hostNetwork' is true")
        elif spec.hostIPC and (dotted.startswith(IPC_SYSCTLS) or dotted == "kernel.sem"):
            yield invalid(at, name, "may not be specified when 'hostIPC' is true")
        seen.add(name)


def host_users(path: Path, spec: PodSpec) -> Faults:
    """A user namespace of the pod's own goes with no other namespace of the host."""
    if spec.hostUsers is not False:
        return
    for name, shared in (("hostNetwork", spec.hostNetwork), ("HostPID", spec.hostPID), ("HostIPC", spec.hostIPC)):
        if shared:
            yield forbidden(path.child(name), "when `pod.Spec.HostUsers` is false")
