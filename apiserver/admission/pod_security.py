"""PodSecurity: what a namespace's labels say about the pods in it.

https://kubernetes.io/docs/concepts/security/pod-security-admission/
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from api import errors, kinds
from api.paths import Fault, Path, invalid, refusal
from api.types import (
    CronJob,
    DaemonSet,
    Deployment,
    Job,
    Namespace,
    ObjectMeta,
    Pod,
    PodSpec,
    PodTemplate,
    ReplicaSet,
    ReplicationController,
    StatefulSet,
)
from apiserver.admission.pod_standards import LATEST, in_detail, in_short, violations
from apiserver.admission.reading import Reader, find
from apiserver.requests import Request

NAMESPACES, PODS = kinds.of(Namespace), kinds.of(Pod)
TEMPLATES = kinds.of(PodTemplate)
CRON_JOBS = kinds.of(CronJob)
WITH_TEMPLATES = {
    kinds.of(each) for each in (ReplicationController, ReplicaSet, Deployment, StatefulSet, DaemonSet, Job)
} | {TEMPLATES, CRON_JOBS}
PREFIX = "pod-security.kubernetes.io/"
LEVELS = ("privileged", "baseline", "restricted")
LABELS = Path("metadata.labels")
# Subresources of pods that can change what a pod does; everything else is not looked at.
EXAMINED = ("", "ephemeralcontainers", "resize")
MOST_PODS = 3000
SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"


@dataclass(frozen=True, slots=True)
class Standard:
    """A level, by the rules of a minor version."""

    level: str = "privileged"
    minor: int = LATEST

    def broken(self, metadata: ObjectMeta, spec: PodSpec) -> list[tuple[str, str]]:
        return violations(self.level, self.minor, metadata, spec)

    def is_stricter(self, other: "Standard") -> bool:
        return LEVELS.index(self.level) > LEVELS.index(other.level)

    def __str__(self) -> str:
        return f"{self.level}:{'latest' if self.minor == LATEST else f'v1.{self.minor}'}"


@dataclass(frozen=True, slots=True)
class Policy:
    enforce: Standard = Standard()
    audit: Standard = Standard()
    warn: Standard = Standard()


def policy_of(labels: Mapping[str, str]) -> tuple[Policy, list[Fault]]:
    """What the labels of a namespace ask for. What is misspelt counts as the strictest when it is enforced, and as
    nothing when it is only told."""
    faults: list[Fault] = []
    found: dict[str, Standard] = {}
    for mode in ("enforce", "audit", "warn"):
        standard = Standard()
        if (level := labels.get(PREFIX + mode)) is not None:
            if level not in LEVELS:
                faults.append(invalid(LABELS.key(PREFIX + mode), level, f"must be one of {', '.join(LEVELS)}"))
                level = "restricted" if mode == "enforce" else "privileged"
            standard = replace(standard, level=level)
        if (version := labels.get(f"{PREFIX}{mode}-version")) is not None:
            match = re.fullmatch(r"v1\.([0-9]|[1-9][0-9]*)", version)
            if match:
                standard = replace(standard, minor=min(int(match[1]), LATEST - 1))
            elif version != "latest":
                at = LABELS.key(f"{PREFIX}{mode}-version")
                faults.append(invalid(at, version, 'must be "latest" or "v1.x"'))
        found[mode] = standard
    if PREFIX + "warn" not in labels and found["enforce"].is_stricter(found["warn"]):
        minor = found["warn"].minor if PREFIX + "warn-version" in labels else found["enforce"].minor
        found["warn"] = Standard(found["enforce"].level, minor)
    return Policy(**found), faults


class PodSecurity:
    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def judge(self, request: Request, obj: Any, old: Any) -> None:
        if obj is None:
            return
        if request.kind is NAMESPACES:
            if not request.subresource:
                self._judge_namespace(request, obj, old)
        elif request.kind is PODS:
            if request.subresource in EXAMINED and (old is None or is_significant(obj, old)):
                policy = await self._policy(request)
                if policy != Policy():
                    self._judge_pod(request, policy, obj)
        elif request.kind in WITH_TEMPLATES and not request.subresource:
            template = _template(request, obj)
            if template is not None:
                _warn(request, (await self._policy(request)).warn, template.metadata, template.spec)

    async def _policy(self, request: Request) -> Policy:
        namespace = await find(self._reader, NAMESPACES, "", request.namespace)
        return policy_of(namespace.metadata.labels)[0] if namespace is not None else Policy()

    def _judge_pod(self, request: Request, policy: Policy, pod: Pod) -> None:
        broken = policy.enforce.broken(pod.metadata, pod.spec)
        if broken:
            why = f'violates PodSecurity "{policy.enforce}": {in_detail(broken)}'
            raise errors.forbidden(PODS.group_resource, pod.metadata.name, why)
        _warn(request, policy.warn, pod.metadata, pod.spec)

    def _judge_namespace(self, request: Request, new: Namespace, old: Namespace | None) -> None:
        policy, faults = policy_of(new.metadata.labels)
        before, old_faults = policy_of(old.metadata.labels) if old is not None else (Policy(), [])
        if faults and (old is None or faults != old_faults):
            raise refusal("", "Namespace", new.metadata.name, faults)
        wanted, had = policy.enforce, before.enforce
        if old is None or wanted == had or (wanted.minor == had.minor and not wanted.is_stricter(had)):
            return
        if wanted.level != "privileged":
            pods = self._reader.list_within(PODS, new.metadata.name)
            request.warnings += warnings_about(pods[:MOST_PODS], len(pods), new.metadata.name, wanted)


def warnings_about(pods: Iterable[Pod], total: int, namespace: str, standard: Standard) -> list[str]:
    """What is said to somebody who relabels a namespace with pods in it that would not be let in any more."""
    names: dict[str, list[str]] = {}
    checked = 0
    for pod in pods:
        checked += 1
        if broken := standard.broken(pod.metadata, pod.spec):
            names.setdefault(in_short(broken), []).append(pod.metadata.name)
    said = []
    if checked < total:
        said.append(f"new PodSecurity enforce level only checked against the first {checked} of {total} existing pods")
    if names:
        said.append(f'existing pods in namespace "{namespace}" violate the new PodSecurity enforce level "{standard}"')
    return said + sorted(f"{_some(each)}: {why}" for why, each in names.items())


def _some(names: list[str]) -> str:
    others = len(names) - 1
    if not others:
        return names[0]
    return f"{min(names)} (and {others} other {'pod' if others == 1 else 'pods'})"


def _warn(request: Request, standard: Standard, metadata: ObjectMeta, spec: PodSpec) -> None:
    if broken := standard.broken(metadata, spec):
        warning = f'would violate PodSecurity "{standard}": {in_detail(broken)}'
        if warning not in request.warnings:
            request.warnings.append(warning)


def _template(request: Request, obj: Any) -> Any | None:
    """The pod template of an object; its metadata and spec always exist."""
    if request.kind is TEMPLATES:
        return obj.template
    if request.kind is CRON_JOBS:
        return obj.spec.jobTemplate.spec.template if obj.spec.jobTemplate is not None else None
    return obj.spec.template


def is_significant(new: Pod, old: Pod) -> bool:
    """Whether the update of a pod can change what it breaks: most cannot."""
    if new.metadata.annotations.get(SECCOMP_POD) != old.metadata.annotations.get(SECCOMP_POD):
        return True
    pairs = ((new.spec.containers, old.spec.containers), (new.spec.initContainers, old.spec.initContainers))
    if any(len(a) != len(b) for a, b in pairs):
        return True
    before = {c.name: c for c in old.spec.ephemeralContainers}
    changed = [(a, b) for ours, theirs in pairs for a, b in zip(ours, theirs, strict=True)]
    return any(_differs(a, b, new, old) for a, b in changed) or any(
        c.name not in before or _differs(c, before[c.name], new, old) for c in new.spec.ephemeralContainers
    )


def _differs(container: Any, before: Any, new: Pod, old: Pod) -> bool:
    key = SECCOMP_CONTAINER + container.name
    return bool(
        container.image != before.image or new.metadata.annotations.get(key) != old.metadata.annotations.get(key)
    )
