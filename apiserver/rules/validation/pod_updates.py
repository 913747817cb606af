"""What may change of a pod that exists: its image, additional tolerations, and little else.

https://kubernetes.io/docs/concepts/workloads/pods/#pod-update-and-replacement
"""

import difflib
import json

from msgspec.structs import replace

from api import names, restart_rules
from api.meta import clone, encode
from api.paths import Path, duplicate, forbidden, invalid, not_supported, required
from api.qos import qos_class
from api.types import Container, ContainerStatus, Pod, PodSpec, ResourceRequirements, Toleration
from apiserver.rules.validation import gated_pods, placement, pods
from apiserver.rules.validation.values import Faults, formed, immutable, ip

SPEC = Path("spec")
UPDATABLE = (
    "`spec.containers[*].image`", "`spec.initContainers[*].image`", "`spec.activeDeadlineSeconds`",
    "`spec.tolerations` (only additions to existing tolerations)",
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
)  # fmt: skip
RESIZABLE = {"cpu", "memory"}


def updated(new: Pod, old: Pod) -> Faults:
    """A write to the pod itself, without the common rules of metadata."""
    if new.spec == old.spec:
        yield from _annotations(new, old)
        return
    yield from pods.body(new)
    yield from _annotations(new, old)
    for name in ("containers", "initContainers"):
        now, before = getattr(new.spec, name), getattr(old.spec, name)
        if len(now) != len(before):
            yield forbidden(SPEC.child(name), "pod updates may not add or remove containers")
            return
    deadline = list(_deadline(new.spec, old.spec))
    yield from deadline
    if deadline and new.spec.activeDeadlineSeconds is not None:
        return
    yield from _tolerations(new.spec.tolerations, old.spec.tolerations)
    yield from _gates(new.spec, old.spec)
    munged = _munged(new.spec, old.spec)
    if old.spec.schedulingGates:
        yield from gated_pods.narrowed(munged, old.spec)
    if munged != old.spec:
        listed = ",".join(UPDATABLE)
        yield forbidden(SPEC, f"pod updates may not change fields other than {listed}\n{_diff(old.spec, munged)}")


def _annotations(new: Pod, old: Pod) -> Faults:
    at = Path("metadata").child("annotations").key(pods.MIRROR)
    now, before = new.metadata.annotations.get(pods.MIRROR), old.metadata.annotations.get(pods.MIRROR)
    if before is not None and now != before:
        yield forbidden(at, "may not remove or update mirror pod annotation")
    elif before is None and now is not None:
        yield forbidden(at, "may not add mirror pod annotation")


def _deadline(new: PodSpec, old: PodSpec) -> Faults:
    at, now, before = SPEC.child("activeDeadlineSeconds"), new.activeDeadlineSeconds, old.activeDeadlineSeconds
    if now is None:
        if before is not None:
            yield invalid(at, None, "must not update from a positive integer to nil value")
    elif not 0 <= now <= pods.INT32:
        yield invalid(at, now, f"must be between 0 and {pods.INT32}, inclusive")
    elif before is not None and before < now:
        yield invalid(at, now, "must be less than or equal to previous value")


def _tolerations(new: list[Toleration], old: list[Toleration]) -> Faults:
    def plain(it: Toleration) -> tuple[str, str, str, str]:
        return it.key, it.operator, it.value, it.effect

    kept = {plain(t) for t in new}
    if any(plain(t) not in kept for t in old):
        why = "existing toleration can not be modified except its tolerationSeconds"
        yield forbidden(SPEC.child("tolerations"), why)
    elif new != old:
        yield from placement.tolerations(SPEC.child("tolerations"), new)


def _gates(new: PodSpec, old: PodSpec) -> Faults:
    known = {g.name for g in old.schedulingGates}
    for i, gate in enumerate(new.schedulingGates):
        if gate.name not in known:
            at = SPEC.child("schedulingGates").index(i).child("name")
            yield forbidden(at, f"only deletion is allowed, but found new scheduling gate '{gate.name}'")


def _munged(new: PodSpec, old: PodSpec) -> PodSpec:
    """The new spec with everything that may change as it was."""
    spec = clone(new)
    for mine, theirs in ((spec.containers, old.containers), (spec.initContainers, old.initContainers)):
        for container, before in zip(mine, theirs, strict=True):
            container.image = before.image
    spec.activeDeadlineSeconds = old.activeDeadlineSeconds
    spec.schedulingGates = old.schedulingGates
    spec.tolerations = old.tolerations
    if (old.terminationGracePeriodSeconds or 0) < 0 and spec.terminationGracePeriodSeconds == 1:
        spec.terminationGracePeriodSeconds = old.terminationGracePeriodSeconds
    return spec


def _diff(old: PodSpec, new: PodSpec) -> str:
    """The changed lines of the two specs; upstream prints Go values here."""
    before, after = (json.dumps(json.loads(encode(s)), indent=1, sort_keys=True).splitlines() for s in (old, new))
    lines = difflib.unified_diff(before, after, lineterm="", n=2)
    return "\n".join(line for line in lines if not line.startswith(("---", "+++", "@@")))


def ephemeral_containers_updated(new: Pod, old: Pod) -> Faults:
    """A write to the ephemeralcontainers subresource: containers may only be added."""
    yield from pods.body(new)
    if pods.MIRROR in old.metadata.annotations:
        yield forbidden(Path(), "static pods do not support ephemeral containers")
        return
    at = SPEC.child("ephemeralContainers")
    by_name = {c.name: c for c in new.spec.ephemeralContainers}
    for before in old.spec.ephemeralContainers:
        if before.name not in by_name:
            yield forbidden(at, f'existing ephemeral containers "{before.name}" may not be removed\n')
        elif by_name[before.name] != before:
            yield forbidden(at, f'existing ephemeral containers "{before.name}" may not be changed\n')


def resized(new: Pod, old: Pod) -> Faults:
    """A write to the resize subresource: only requests and limits of cpu and memory change, and none goes."""
    yield from pods.body(new)
    if pods.MIRROR in old.metadata.annotations:
        yield forbidden(Path(), "static pods cannot be resized")
        return
    if old.spec.os is not None and old.spec.os.name == "windows":
        yield forbidden(Path(), "windows pods cannot be resized")
        return
    before_class = old.status.qosClass or qos_class(old.spec)
    if qos_class(new.spec) != before_class:
        yield invalid(SPEC, before_class, "Pod QOS Class may not change as a result of resizing")
    yield from _whole_resized(new.spec.resources, old.spec.resources)
    other = list(_other_containers(new.spec, old.spec))
    yield from other
    if other:
        return
    for name in ("initContainers", "containers"):
        for i, (container, was) in enumerate(zip(getattr(new.spec, name), getattr(old.spec, name), strict=True)):
            at = SPEC.child(name).index(i).child("resources")
            yield from _amounts_removed(at, container.resources, was.resources, "resource")
    for i, (container, was) in enumerate(zip(new.spec.initContainers, old.spec.initContainers, strict=True)):
        yield from _init_resized(SPEC.child("initContainers").index(i), container, was)
    if any(_without_compute(c, w) != w for c, w in zip(new.spec.containers, old.spec.containers, strict=True)):
        yield forbidden(SPEC, "only cpu and memory resources are mutable")


def _whole_resized(now: ResourceRequirements | None, before: ResourceRequirements | None) -> Faults:
    at = SPEC.child("resources")
    if now is None:
        if before is not None:
            yield forbidden(at, "pod-level resources cannot be removed")
        return
    was = before or ResourceRequirements()
    yield from _amounts_removed(at, now, was, "pod-level resource")
    if _with_compute_of(was, now) != was:
        yield forbidden(SPEC, "only cpu and memory resources are mutable at pod-level")


def _other_containers(new: PodSpec, old: PodSpec) -> Faults:
    for name in ("containers", "initContainers"):
        at, now, before = SPEC.child(name), getattr(new, name), getattr(old, name)
        if len(now) != len(before):
            yield forbidden(at, f"{name} may not be added or removed on resize")
            continue
        for i, (container, was) in enumerate(zip(now, before, strict=True)):
            if container.name != was.name:
                yield forbidden(at.index(i).child("name"), f"{name} may not be renamed or reordered on resize")


def _amounts_removed(at: Path, now: ResourceRequirements, before: ResourceRequirements, what: str) -> Faults:
    for of in ("requests", "limits"):
        if getattr(before, of).keys() - getattr(now, of).keys():
            yield forbidden(at.child(of), f"{what} {of} cannot be removed")


def _init_resized(at: Path, now: Container, before: Container) -> Faults:
    if now == before:
        return
    if _without_compute(now, before) != before:
        yield forbidden(at, "only cpu and memory resources for init or sidecar containers are mutable")
    # What runs once would run twice.
    if now.restartPolicy != "Always" and any(p.restartPolicy == "RestartContainer" for p in now.resizePolicy):
        why = "non-sidecar init containers with a resize policy of RestartContainer cannot be resized"
        yield forbidden(at, why)


def _without_compute(container: Container, before: Container) -> Container:
    """The container with the cpu and memory it had."""
    return replace(container, resources=_with_compute_of(before.resources, container.resources))


def _with_compute_of(before: ResourceRequirements, now: ResourceRequirements) -> ResourceRequirements:
    amounts = {}
    for of in ("requests", "limits"):
        kept = {k: v for k, v in getattr(before, of).items() if k in RESIZABLE}
        amounts[of] = {k: v for k, v in getattr(now, of).items() if k not in RESIZABLE} | kept
    return replace(now, **amounts)


def status_updated(new: Pod, old: Pod) -> Faults:
    """A write to the status subresource."""
    yield from _annotations(new, old)
    at = Path("status")
    if new.status.nominatedNodeName and new.status.nominatedNodeName != old.status.nominatedNodeName:
        yield from formed(at.child("nominatedNodeName"), new.status.nominatedNodeName, names.dns_subdomain_faults)
    if old.status.qosClass:
        yield from immutable(at.child("qosClass"), new.status.qosClass, old.status.qosClass)
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        yield from _transitions(at, kind, new, old)
    for i, pod_ip in enumerate(new.status.podIPs):
        yield from ip(at.child("podIPs").index(i), pod_ip.ip)
    for i, host_ip in enumerate(new.status.hostIPs):
        yield from ip(at.child("hostIPs").index(i), host_ip.ip)
    if new.status.hostIPs and new.status.hostIP != new.status.hostIPs[0].ip:
        first = at.child("hostIPs").index(0).child("ip")
        yield invalid(first, new.status.hostIPs[0].ip, "must be equal to `hostIP`")
    if new.status.resourceClaimStatuses:
        yield from _claims(at.child("resourceClaimStatuses"), new)


def _claims(path: Path, pod: Pod) -> Faults:
    """Which claims were made for the pod's."""
    known, seen = {claim.name for claim in pod.spec.resourceClaims}, set()
    for i, status in enumerate(pod.status.resourceClaimStatuses):
        at, name = path.index(i).child("name"), status.name or ""
        if status.name not in known:
            yield invalid(at, name, "must match the name of an entry in `spec.resourceClaims`")
        if name in seen:
            yield duplicate(at, name)
        seen.add(name)
        if status.resourceClaimName:
            yield from formed(at, status.resourceClaimName, names.dns_subdomain_faults)


def _transitions(path: Path, kind: str, new: Pod, old: Pod) -> Faults:
    """A container that has ended for good stays so."""
    name = f"{kind[:-1]}Statuses"
    lasting = kind == "ephemeralContainers"
    if not lasting and restart_rules.may_restart_all(old):
        return
    containers = {c.name: c for c in getattr(old.spec, kind)}
    after: dict[str, ContainerStatus] = {s.name: s for s in getattr(new.status, name)}
    for i, before in enumerate(getattr(old.status, name)):
        ended, of = before.state.terminated, containers.get(before.name)
        if ended is None or before.name not in after or after[before.name].state.terminated is not None:
            continue
        if lasting or not restart_rules.follows(old, of or Container(), ended.exitCode or 0):
            why = "may not be transitioned to non-terminated state"
            yield forbidden(path.child(name).index(i).child("state"), why)


def bound(target_kind: str, target_name: str) -> Faults:
    """The target of a Binding."""
    at = Path("target")
    if target_kind not in ("", "Node"):
        yield not_supported(at.child("kind"), target_kind, ("Node", "<empty>"))
    if not target_name:
        yield required(at.child("name"))
