"""The Pod Security Standards: what a pod must not do at the levels baseline and restricted. Pure.

https://kubernetes.io/docs/concepts/security/pod-security-standards/ .  A check belongs to a level and to the minor
versions from which it holds; one of the restricted level may stand in for one of the baseline level.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from api.types import Container, LifecycleHandler, ObjectMeta, PodSpec, Probe, SecurityContext, Volume

BASELINE, RESTRICTED = "baseline", "restricted"
LATEST = 10_000
"""As a minor version: newer than any."""
APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
CAPABILITIES = {
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
    "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}  # fmt: skip
SYSCTLS = {
    0: "kernel.shm_rmid_forced net.ipv4.ip_local_port_range net.ipv4.tcp_syncookies net.ipv4.ping_group_range "
    "net.ipv4.ip_unprivileged_port_start",
    27: "net.ipv4.ip_local_reserved_ports",
    29: "net.ipv4.tcp_keepalive_time net.ipv4.tcp_fin_timeout net.ipv4.tcp_keepalive_intvl "
    "net.ipv4.tcp_keepalive_probes",
    32: "net.ipv4.tcp_rmem net.ipv4.tcp_wmem",
}
SELINUX_TYPES = {"", "container_t", "container_init_t", "container_kvm_t"}
SECCOMP_TYPES = {"RuntimeDefault", "Localhost"}
FREE_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Subject:
    """What is checked, and by the rules of which minor version."""

    metadata: ObjectMeta
    spec: PodSpec
    minor: int

    @property
    def containers(self) -> Iterator[Container]:
        yield from self.spec.initContainers
        yield from self.spec.containers
        yield from self.spec.ephemeralContainers  # type: ignore[misc]  # they have all that is looked at here

    @property
    def on_windows(self) -> bool:
        return self.minor >= 25 and self.spec.os is not None and self.spec.os.name == "windows"

    @property
    def has_own_users(self) -> bool:
        """Root inside is nobody outside."""
        return self.minor >= 35 and self.spec.hostUsers is False


Broken = tuple[str, str]
"""(reason, detail); the detail may be empty."""
Rule = Callable[[Subject], Broken | None]


@dataclass(frozen=True, slots=True)
class Check:
    level: str
    rule: Rule
    since: int = 0
    instead_of: Rule | None = None


def violations(level: str, minor: int, metadata: ObjectMeta, spec: PodSpec) -> list[Broken]:
    """What the pod breaks of that level (anything but the two: nothing) by the rules of v1.MINOR."""
    if level not in (BASELINE, RESTRICTED):
        return []
    subject = Subject(metadata, spec, minor)
    checks = [c for c in CHECKS if c.since <= minor and c.level in (BASELINE, level)]
    replaced = {c.instead_of for c in checks}
    return [found for c in checks if c.rule not in replaced and (found := c.rule(subject)) is not None]


def in_detail(broken: Iterable[Broken]) -> str:
    return ", ".join(f"{reason} ({detail})" if detail else reason for reason, detail in broken)


def in_short(broken: Iterable[Broken]) -> str:
    return ", ".join(reason for reason, _ in broken)


# --- how upstream says it


def _plural(what: str, count: int) -> str:
    return what if count == 1 else f"{what}s"


def _quoted(names: Iterable[str]) -> str:
    return '"' + '", "'.join(names) + '"'


def _containers(names: list[str]) -> str:
    return f"{_plural('container', len(names))} {_quoted(names)}"


def _setters(pod: bool, containers: list[str]) -> str:
    return " and ".join((["pod"] if pod else []) + ([_containers(containers)] if containers else []))


def _context(container: Container) -> SecurityContext:
    return container.securityContext or SecurityContext()


def _named(subject: Subject, test: Callable[[Container], bool]) -> list[str]:
    return [c.name or "" for c in subject.containers if test(c)]


# --- baseline


def app_armor(subject: Subject) -> Broken | None:
    values = set()

    def is_bad(context: Any) -> bool:
        profile = context.appArmorProfile if context is not None else None
        if profile is None or profile.type in SECCOMP_TYPES:
            return False
        values.add(profile.type)
        return True

    pod = is_bad(subject.spec.securityContext)
    setters = _setters(pod, _named(subject, lambda c: is_bad(c.securityContext)))
    annotations = sorted(
        f'{key}="{value}"'
        for key, value in subject.metadata.annotations.items()
        if key.startswith(APPARMOR) and value not in ("", "runtime/default") and not value.startswith("localhost/")
    )
    if annotations:
        setters = " and ".join(filter(None, [setters, _plural("annotation", len(annotations))]))
    bad = [*sorted(values), *annotations]
    if not bad:
        return None
    return (
        _plural("forbidden AppArmor profile", len(bad)),
        f"{setters} must not set AppArmor profile type to {_quoted(bad)}",
    )


def capabilities(subject: Subject) -> Broken | None:
    def added(container: Container) -> set[str]:
        given = _context(container).capabilities
        return set(given.add) - CAPABILITIES if given is not None else set()

    bad = _named(subject, lambda c: bool(added(c)))
    extra = sorted(set().union(*(added(c) for c in subject.containers)))
    detail = f"{_containers(bad)} must not include {_quoted(extra)} in securityContext.capabilities.add"
    return ("non-default capabilities", detail) if bad else None


def host_namespaces(subject: Subject) -> Broken | None:
    bad = [f"{name}=true" for name in ("hostNetwork", "hostPID", "hostIPC") if getattr(subject.spec, name)]
    return ("host namespaces", ", ".join(bad)) if bad else None


def host_paths(subject: Subject) -> Broken | None:
    bad = [v.name or "" for v in subject.spec.volumes if v.hostPath is not None]
    return ("hostPath volumes", f"{_plural('volume', len(bad))} {_quoted(bad)}") if bad else None


def host_ports(subject: Subject) -> Broken | None:
    bad = _named(subject, lambda c: any(p.hostPort for p in c.ports))
    ports = sorted({str(p.hostPort) for c in subject.containers for p in c.ports if p.hostPort})
    use = "uses" if len(bad) == 1 else "use"
    detail = f"{_containers(bad)} {use} {_plural('hostPort', len(ports))} {', '.join(ports)}"
    return ("hostPort", detail) if bad else None


def probed_hosts(subject: Subject) -> Broken | None:
    def hosts(container: Container) -> set[str]:
        lifecycle = container.lifecycle
        handlers: list[Probe | LifecycleHandler | None] = [
            container.livenessProbe, container.readinessProbe, container.startupProbe,
        ]  # fmt: skip
        handlers += [lifecycle.postStart, lifecycle.preStop] if lifecycle is not None else []
        actions = [action for h in handlers if h is not None for action in (h.httpGet, h.tcpSocket)]
        return {action.host for action in actions if action is not None and action.host}

    bad = sorted(set(_named(subject, lambda c: bool(hosts(c)))))
    found = sorted(set().union(*(hosts(c) for c in subject.containers)))
    use = "uses" if len(bad) == 1 else "use"
    detail = f"{_containers(bad)} {use} {_plural('probe or lifecycle host', len(found))} {_quoted(found)}"
    return ("probe or lifecycle host", detail) if bad else None


def privileged(subject: Subject) -> Broken | None:
    bad = _named(subject, lambda c: bool(_context(c).privileged))
    return ("privileged", f"{_containers(bad)} must not set securityContext.privileged=true") if bad else None


def proc_mounts(subject: Subject) -> Broken | None:
    return None if subject.has_own_users else proc_mounts_always(subject)


def proc_mounts_always(subject: Subject) -> Broken | None:
    bad = _named(subject, lambda c: _context(c).procMount not in ("", "Default"))
    values = sorted({_context(c).procMount for c in subject.containers} - {"", "Default"})
    detail = f"{_containers(bad)} must not set securityContext.procMount to {_quoted(values)}"
    return ("procMount", detail) if bad else None


def se_linux(subject: Subject) -> Broken | None:
    allowed = SELINUX_TYPES | ({"container_engine_t"} if subject.minor >= 31 else set())
    types, others = set(), set()

    def is_bad(context: Any) -> bool:
        options = context.seLinuxOptions if context is not None else None
        if options is None:
            return False
        own = {name for name in ("user", "role") if getattr(options, name)}
        others.update(own)
        if options.type not in allowed:
            types.add(options.type)
        return bool(own) or options.type not in allowed

    pod = is_bad(subject.spec.securityContext)
    containers = _named(subject, lambda c: is_bad(c.securityContext))
    if not pod and not containers:
        return None
    data = [f"{_plural('type', len(types))} {_quoted(sorted(types))}"] if types else []
    data += [f"{name} may not be set" for name in ("user", "role") if name in others]
    setters = _setters(pod, containers)
    return "seLinuxOptions", f"{setters} set forbidden securityContext.seLinuxOptions: {'; '.join(data)}"


def seccomp(subject: Subject) -> Broken | None:
    return _seccomp_annotations(subject) if subject.minor < 19 else _bad_seccomp(subject)


def _seccomp_annotations(subject: Subject) -> Broken | None:
    keys = [SECCOMP_POD, *(SECCOMP_CONTAINER + (c.name or "") for c in subject.containers)]
    given = subject.metadata.annotations
    bad = sorted(
        f'{key}="{given[key]}"'
        for key in set(keys) & given.keys()
        if given[key] not in ("runtime/default", "docker/default") and not given[key].startswith("localhost/")
    )
    return ("seccompProfile", f"forbidden {_plural('annotation', len(bad))} {', '.join(bad)}") if bad else None


def _seccomp_type(context: Any) -> str | None:
    return context.seccompProfile.type if context is not None and context.seccompProfile is not None else None


def _bad_seccomp(subject: Subject) -> Broken | None:
    bad = {None, *SECCOMP_TYPES}
    pod = _seccomp_type(subject.spec.securityContext)
    containers = _named(subject, lambda c: _seccomp_type(c.securityContext) not in bad)
    found = {_seccomp_type(c.securityContext) for c in subject.containers} | {pod}
    values = sorted(value for value in found if value not in bad and value is not None)
    if not values:
        return None
    setters = _setters(pod not in bad, containers)
    return "seccompProfile", f"{setters} must not set securityContext.seccompProfile.type to {_quoted(values)}"


def sysctls(subject: Subject) -> Broken | None:
    allowed = {name for since, names in SYSCTLS.items() if since <= subject.minor for name in names.split()}
    given = subject.spec.securityContext.sysctls if subject.spec.securityContext is not None else []
    bad = [s.name or "" for s in given if s.name not in allowed]
    return ("forbidden sysctls", ", ".join(bad)) if bad else None


def host_processes(subject: Subject) -> Broken | None:
    def is_bad(context: Any) -> bool:
        options = context.windowsOptions if context is not None else None
        return options is not None and bool(options.hostProcess)

    setters = _setters(is_bad(subject.spec.securityContext), _named(subject, lambda c: is_bad(c.securityContext)))
    detail = f"{setters} must not set securityContext.windowsOptions.hostProcess=true"
    return ("hostProcess", detail) if setters else None


# --- restricted


def escalation(subject: Subject) -> Broken | None:
    bad = [] if subject.on_windows else _named(subject, lambda c: _context(c).allowPrivilegeEscalation is not False)
    detail = f"{_containers(bad)} must set securityContext.allowPrivilegeEscalation=false"
    return ("allowPrivilegeEscalation != false", detail) if bad else None


def capabilities_dropped(subject: Subject) -> Broken | None:
    if subject.on_windows:
        return None

    def added(container: Container) -> set[str]:
        given = _context(container).capabilities
        return set(given.add) - {"NET_BIND_SERVICE"} if given is not None else set()

    def keeps(container: Container) -> bool:
        given = _context(container).capabilities
        return given is None or "ALL" not in given.drop

    keeping, adding = _named(subject, keeps), _named(subject, lambda c: bool(added(c)))
    details = []
    if keeping:
        details.append(f'{_containers(keeping)} must set securityContext.capabilities.drop=["ALL"]')
    if adding:
        extra = sorted(set().union(*(added(c) for c in subject.containers)))
        details.append(f"{_containers(adding)} must not include {_quoted(extra)} in securityContext.capabilities.add")
    return ("unrestricted capabilities", "; ".join(details)) if details else None


def volume_types(subject: Subject) -> Broken | None:
    kinds = {v.name or "": _type_of(v) for v in subject.spec.volumes if _type_of(v) not in FREE_VOLUMES}
    if not kinds:
        return None
    use = "uses" if len(kinds) == 1 else "use"
    types = sorted(set(kinds.values()))
    detail = (
        f"{_plural('volume', len(kinds))} {_quoted(kinds)} {use} "
        f"{_plural('restricted volume type', len(types))} {_quoted(types)}"
    )
    return "restricted volume types", detail


def _type_of(volume: Volume) -> str:
    return next(
        (n for n in volume.__struct_fields__ if n != "name" and getattr(volume, n) not in (None, "")), "unknown"
    )


def non_root(subject: Subject) -> Broken | None:
    if subject.has_own_users:
        return None
    context = subject.spec.securityContext
    of_pod = context.runAsNonRoot if context is not None else None
    explicit = _named(subject, lambda c: _context(c).runAsNonRoot is False)
    if of_pod is False or explicit:
        setters = _setters(of_pod is False, explicit)
        return "runAsNonRoot != true", f"{setters} must not set securityContext.runAsNonRoot=false"
    silent = [] if of_pod else _named(subject, lambda c: _context(c).runAsNonRoot is None)
    detail = f"pod or {_containers(silent)} must set securityContext.runAsNonRoot=true"
    return ("runAsNonRoot != true", detail) if silent else None


def root_users(subject: Subject) -> Broken | None:
    if subject.has_own_users:
        return None
    context = subject.spec.securityContext
    setters = _setters(
        context is not None and context.runAsUser == 0, _named(subject, lambda c: _context(c).runAsUser == 0)
    )
    return ("runAsUser=0", f"{setters} must not set runAsUser=0") if setters else None


def seccomp_stated(subject: Subject) -> Broken | None:
    if subject.on_windows:
        return None
    if bad := _bad_seccomp(subject):
        return bad
    if _seccomp_type(subject.spec.securityContext) is not None:
        return None
    silent = _named(subject, lambda c: _seccomp_type(c.securityContext) is None)
    wanted = 'securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
    return ("seccompProfile", f"pod or {_containers(silent)} must set {wanted}") if silent else None


# In the order of upstream's identifiers, the baseline first: the order in which messages name them.
CHECKS = (
    Check(BASELINE, app_armor),
    Check(BASELINE, capabilities),
    Check(BASELINE, host_namespaces),
    Check(BASELINE, host_paths),
    Check(BASELINE, host_ports),
    Check(BASELINE, probed_hosts, since=34),
    Check(BASELINE, privileged),
    Check(BASELINE, proc_mounts),
    Check(BASELINE, se_linux),
    Check(BASELINE, seccomp),
    Check(BASELINE, sysctls),
    Check(BASELINE, host_processes),
    Check(RESTRICTED, escalation, since=8),
    Check(RESTRICTED, capabilities_dropped, since=22, instead_of=capabilities),
    Check(RESTRICTED, proc_mounts_always, since=35, instead_of=proc_mounts),
    Check(RESTRICTED, volume_types, instead_of=host_paths),
    Check(RESTRICTED, non_root),
    Check(RESTRICTED, root_users, since=23),
    Check(RESTRICTED, seccomp_stated, since=19, instead_of=seccomp),
)
