"""Users, capabilities and the like: the two security contexts joined into what the engine is told.
https://kubernetes.io/docs/tasks/configure-pod-container/security-context/
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api.types import AppArmorProfile, Container, Pod, SeccompProfile, SecurityContext
from kubelet.containers.accounts import Accounts
from kubelet.containers.fields import ConfigError

# capabilities(7), in the order of their numbers
_NAMES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE "
    "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
CAPABILITIES = tuple(_NAMES.split())
# Docker 20.10 knows those up to AUDIT_READ, and the later ones only where it was built with a newer library.
KNOWN_TO_ENGINE = 38


@dataclass(frozen=True, slots=True)
class Powers:
    """What the engine can grant on this machine."""

    capabilities: tuple[str, ...] = CAPABILITIES[:KNOWN_TO_ENGINE]

    @property
    def all(self) -> bool:
        return set(CAPABILITIES[:KNOWN_TO_ENGINE]) <= set(self.capabilities)

    @property
    def negative_oom_scores(self) -> bool:
        return "SYS_RESOURCE" in self.capabilities


def powers(proc: Path = Path("/proc")) -> Powers:
    """From the bounding set of the engine's process, if it can be found, else of process 1."""
    pid = next((p.name for p in proc.glob("[0-9]*") if _name(p) == "dockerd"), "1")
    try:
        status = (proc / pid / "status").read_text()
    except OSError:
        return Powers()
    bounding = int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapBnd:")), 16)
    return Powers(tuple(c for n, c in enumerate(CAPABILITIES[:KNOWN_TO_ENGINE]) if bounding >> n & 1))


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip()
    except OSError:
        return ""


def user(pod: Pod, container: Container, image_user: str = "") -> str:
    """USER, USER:GROUP or "" for root."""
    uid, gid = _setting(pod, container, "runAsUser"), _setting(pod, container, "runAsGroup")
    own = image_user if uid is None else str(uid)
    return own if gid is None else f"{own.partition(':')[0] or 0}:{gid}"


def needs_accounts(pod: Pod, container: Container, image_user: str) -> bool:
    """Does it depend on the files of the image who the container is, in a way that the engine does not see to?  It
    joins the groups that have the user for a member, unless it is told the user's own group: then it joins none."""
    return _is_strict(pod) or ":" in user(pod, container, image_user)


def identity(pod: Pod, container: Container, image_user: str, accounts: Accounts) -> tuple[str, tuple[str, ...]]:
    """The user and the further groups that the engine is told.  Raises ConfigError.
    https://kubernetes.io/docs/tasks/configure-pod-container/security-context/#supplementalgroupspolicy
    """
    wanted, own = user(pod, container, image_user), groups(pod)
    if not _is_strict(pod):
        return wanted, own if ":" not in wanted else tuple(dict.fromkeys([*own, *map(str, accounts.joined(wanted))]))
    wanted = accounts.explicit(wanted)
    if name := accounts.misnamed({int(g) for g in (wanted.partition(":")[2], *own) if g.isdecimal()}):
        raise ConfigError(f'supplementalGroupsPolicy is Strict and the image has another group of the name "{name}"')
    return wanted, own


def _is_strict(pod: Pod) -> bool:
    context = pod.spec.securityContext
    return context is not None and context.supplementalGroupsPolicy == "Strict"


def check_non_root(pod: Pod, container: Container, image_user: str) -> None:
    """Raises ConfigError where runAsNonRoot forbids what would run."""
    if not _setting(pod, container, "runAsNonRoot"):
        return
    where = f'(pod: "{pod.metadata.name}_{pod.metadata.namespace}({pod.metadata.uid})", container: {container.name})'
    uid = _setting(pod, container, "runAsUser")
    if uid is not None:
        if uid == 0:
            raise ConfigError(f"container's runAsUser breaks non-root policy {where}")
        return
    name = image_user.partition(":")[0]
    if name in ("", "0", "root"):
        raise ConfigError(f"container has runAsNonRoot and image will run as root {where}")
    if not name.isdigit():
        why = f"image has non-numeric user ({name}), cannot verify user is non-root"
        raise ConfigError(f"container has runAsNonRoot and {why} {where}")


def groups(pod: Pod) -> tuple[str, ...]:
    context = pod.spec.securityContext
    if context is None:
        return ()
    extra = [context.fsGroup] if context.fsGroup is not None else []
    return tuple(str(g) for g in dict.fromkeys([*context.supplementalGroups, *extra]))


def confinement(pod: Pod, container: Container, granted: Powers) -> dict[str, Any]:
    """The fields of a Spec that hold a container in, or let it out."""
    context = container.securityContext or SecurityContext()
    if context.privileged:
        return _privileged(granted)
    add, drop = _capabilities(context, granted)
    security = []
    if context.allowPrivilegeEscalation is False:
        security.append("no-new-privileges")
    profile: SeccompProfile | None = _setting(pod, container, "seccompProfile")
    # The engine's default profile is what RuntimeDefault means; upstream's default without any profile is Unconfined.
    if profile is None or profile.type == "Unconfined":
        security.append("seccomp=unconfined")
    if (armor := armor_of(pod, container)) is not None and armor.type != "RuntimeDefault":
        security.append(f"apparmor={armor.localhostProfile if armor.type == 'Localhost' else 'unconfined'}")
    if context.procMount == "Unmasked":
        security.append("systempaths=unconfined")
    return {"capabilities_add": tuple(add), "capabilities_drop": tuple(drop), "security": tuple(security)}


def armor_of(pod: Pod, container: Container) -> AppArmorProfile | None:
    profile: AppArmorProfile | None = _setting(pod, container, "appArmorProfile")
    return profile


def seccomp_file(pod: Pod, container: Container) -> str:
    """The path, below the kubelet's directory of profiles, of the one that holds the container in; "" without one."""
    profile: SeccompProfile | None = _setting(pod, container, "seccompProfile")
    privileged = container.securityContext is not None and container.securityContext.privileged
    return "" if privileged or profile is None or profile.type != "Localhost" else profile.localhostProfile or ""


def _privileged(granted: Powers) -> dict[str, Any]:
    """The real thing where the machine allows it, else everything that it can give."""
    if granted.all:
        return {"privileged": True}
    return {
        "capabilities_add": granted.capabilities,
        "security": ("seccomp=unconfined", "apparmor=unconfined", "systempaths=unconfined"),
        "all_devices": True,
    }


def _capabilities(context: SecurityContext, granted: Powers) -> tuple[Sequence[str], Sequence[str]]:
    wished = context.capabilities
    if wished is None:
        return (), ()
    add = [c.removeprefix("CAP_") for c in wished.add]
    drop = [c.removeprefix("CAP_") for c in wished.drop]
    # `ALL` is refused by the engine where the machine itself lacks one of them.
    return (granted.capabilities if "ALL" in add else add), (["ALL"] if "ALL" in drop else drop)


def _setting(pod: Pod, container: Container, name: str) -> Any:
    """The container's own setting, else the pod's."""
    for context in (container.securityContext, pod.spec.securityContext):
        if context is not None and (value := getattr(context, name, None)) not in (None, ""):
            return value
    return None
