"""A deployment's revisions: which replica set is which, and the annotations that say so. Pure.

https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#checking-rollout-history-of-a-deployment
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from api import meta, times
from api.types import Deployment, LabelSelector, ObjectMeta, PodTemplateSpec, ReplicaSet, ReplicaSetSpec
from controller_manager.rollouts import max_surge

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
HISTORY_LIMIT = 2000
"""Characters of the revision-history annotation, at most."""
NOT_COPIED = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        "deprecated.deployment.rollback.to",
        REVISION,
        HISTORY,
        DESIRED,
        MAXIMUM,
    }
)
SAFE = "bcdfghjklmnpqrstvwxz2456789"  # without vowels and their look-alikes, so that no words come out


def template_hash(template: PodTemplateSpec, collision_count: int | None) -> str:
    """A short name for a template: the hash of its canonical JSON."""
    return short_hash(msgspec.json.encode(msgspec.to_builtins(template), order="sorted"), collision_count)


def short_hash(document: bytes, collision_count: int | None) -> str:
    """32-bit FNV-1a in upstream's alphabet."""
    value = 0x811C9DC5
    if collision_count is not None:
        document += collision_count.to_bytes(8, "little", signed=True)
    for byte in document:
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return "".join(SAFE[ord(digit) % len(SAFE)] for digit in str(value))


def same_template(a: PodTemplateSpec, b: PodTemplateSpec) -> bool:
    """Whether two templates make the same pods: the hash label does not count."""
    return a.spec == b.spec and _without_hash(a) == _without_hash(b)


def _without_hash(template: PodTemplateSpec) -> ObjectMeta:
    labels = {k: v for k, v in template.metadata.labels.items() if k != HASH_LABEL}
    return msgspec.structs.replace(template.metadata, labels=labels)


def oldest_first(replica_sets: Iterable[ReplicaSet]) -> list[ReplicaSet]:
    return sorted(replica_sets, key=lambda rs: (_created(rs), rs.metadata.name))


def _created(rs: ReplicaSet) -> float:
    return times.parse(rs.metadata.creationTimestamp) if rs.metadata.creationTimestamp else 0.0


def split(deployment: Deployment, replica_sets: Iterable[ReplicaSet]) -> tuple[ReplicaSet | None, list[ReplicaSet]]:
    """The replica set of the deployment's present template, if there is one, and the others, oldest first."""
    ordered = oldest_first(replica_sets)
    new = next((rs for rs in ordered if same_template(rs.spec.template, deployment.spec.template)), None)
    return new, [rs for rs in ordered if rs is not new]


def revision(obj: Any) -> int:
    """The revision that an object's annotation names; 0 if there is none, or nonsense."""
    text = obj.metadata.annotations.get(REVISION, "")
    return int(text) if text.isascii() and text.isdigit() else 0


def next_revision(old: Sequence[ReplicaSet]) -> int:
    return max((revision(rs) for rs in old), default=0) + 1


def replica_annotations(deployment: Deployment) -> dict[str, str]:
    """What a replica set remembers of the deployment's size, for proportional scaling."""
    replicas = deployment.spec.replicas or 0
    return {DESIRED: str(replicas), MAXIMUM: str(replicas + max_surge(deployment))}


def annotated(rs: ReplicaSet, name: str) -> int | None:
    """One of the numbers of `replica_annotations`."""
    text = rs.metadata.annotations.get(name, "")
    return int(text) if text.isascii() and text.isdigit() else None


def annotations_for_existing(deployment: Deployment, rs: ReplicaSet, to: int) -> dict[str, str]:
    """The annotations of a replica set that is the present one again, or still, as revision `to`."""
    annotations = rs.metadata.annotations | _copied(deployment)
    before = rs.metadata.annotations.get(REVISION)
    if revision(rs) >= to:
        return annotations
    annotations[REVISION] = str(to)
    if before is not None:
        annotations[HISTORY] = _appended(annotations.get(HISTORY, ""), before)
    return annotations


def _copied(deployment: Deployment) -> dict[str, str]:
    return {k: v for k, v in deployment.metadata.annotations.items() if k not in NOT_COPIED}


def _appended(history: str, number: str) -> str:
    """The history with one more number; the oldest ones make room."""
    numbers = [n for n in history.split(",") if n] + [number]
    while len(numbers) > 1 and len(",".join(numbers)) > HISTORY_LIMIT:
        numbers.pop(0)
    return ",".join(numbers)


def new_replica_set(deployment: Deployment, replicas: int, to: int) -> ReplicaSet:
    """The replica set of the deployment's present template."""
    template = meta.clone(deployment.spec.template)
    name = template_hash(deployment.spec.template, deployment.status.collisionCount)
    template.metadata.labels[HASH_LABEL] = name
    selector = meta.clone(deployment.spec.selector) or LabelSelector()
    selector.matchLabels[HASH_LABEL] = name
    return ReplicaSet(
        metadata=ObjectMeta(
            name=f"{deployment.metadata.name}-{name}", namespace=deployment.metadata.namespace,
            labels=dict(template.metadata.labels), ownerReferences=[meta.controller_reference(deployment)],
            annotations=_copied(deployment) | {REVISION: str(to)} | replica_annotations(deployment),
        ),
        spec=ReplicaSetSpec(
            replicas=replicas, minReadySeconds=deployment.spec.minReadySeconds, selector=selector, template=template
        ),
    )  # fmt: skip


def superfluous(deployment: Deployment, old: Iterable[ReplicaSet]) -> list[ReplicaSet]:
    """The old replica sets that revisionHistoryLimit leaves no room for, and that have no pods any more."""
    limit = deployment.spec.revisionHistoryLimit
    if limit is None or limit == 2**31 - 1:
        return []
    kept = [rs for rs in old if not rs.metadata.deletionTimestamp]
    surplus = sorted(kept, key=lambda rs: (revision(rs), _created(rs)))[: max(0, len(kept) - limit)]
    return [
        rs
        for rs in surplus
        if not rs.status.replicas
        and rs.spec.replicas == 0
        and (rs.metadata.generation or 0) <= rs.status.observedGeneration
    ]
