"""Identity: the names, labels and volumes of a stateful set's pods. Pure.

https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#pod-identity
"""

import re

from api import meta
from api.types import (
    ObjectMeta,
    PersistentVolumeClaim,
    PersistentVolumeClaimVolumeSource,
    Pod,
    PodSpec,
    PodTemplateSpec,
    StatefulSet,
    Volume,
)
from controller_manager.pods import is_ready, is_terminating, seconds_to_available

NAME_LABEL = "statefulset.kubernetes.io/pod-name"
INDEX_LABEL = "apps.kubernetes.io/pod-index"
REVISION_LABEL = "controller-revision-hash"


def parse(name: str) -> tuple[str, int]:
    """The name of the set and the ordinal that a pod's name tells; ("", -1) if it is not such a name."""
    found = re.fullmatch(r"(.*)-([0-9]+)", name)
    return (found[1], int(found[2])) if found else ("", -1)


def pod_name(of: StatefulSet, ordinal: int) -> str:
    return f"{of.metadata.name}-{ordinal}"


def is_member(of: StatefulSet, pod: Pod) -> bool:
    """Whether the pod's name is one that the set gives."""
    return parse(pod.metadata.name)[0] == of.metadata.name


def ordinal_of(pod: Pod) -> int:
    return parse(pod.metadata.name)[1]


def start(of: StatefulSet) -> int:
    return (of.spec.ordinals.start or 0) if of.spec.ordinals is not None else 0


def ordinals(of: StatefulSet) -> range:
    """The ordinals that the set should have."""
    return range(start(of), start(of) + (of.spec.replicas or 0))


def revision_of(pod: Pod) -> str:
    """The name of the ControllerRevision that the pod was made from."""
    return pod.metadata.labels.get(REVISION_LABEL, "")


def is_healthy(pod: Pod) -> bool:
    return pod.status.phase == "Running" and is_ready(pod) and not is_terminating(pod)


def seconds_to_healthy(of: StatefulSet, pod: Pod, now: float) -> float | None:
    """0 if it runs and has been ready for minReadySeconds, else how long that takes yet; None if nobody knows."""
    if pod.status.phase != "Running":
        return None
    return seconds_to_available(pod, of.spec.minReadySeconds or 0, now)


def identity_labels(of: StatefulSet, ordinal: int) -> dict[str, str]:
    return {NAME_LABEL: pod_name(of, ordinal), INDEX_LABEL: str(ordinal)}


def has_identity(of: StatefulSet, pod: Pod) -> bool:
    return identity_labels(of, ordinal_of(pod)).items() <= pod.metadata.labels.items()


def new_pod(of: StatefulSet, template: PodTemplateSpec, revision: str, ordinal: int) -> Pod:
    template = meta.clone(template)
    spec = template.spec
    spec.hostname = pod_name(of, ordinal)
    spec.subdomain = of.spec.serviceName
    _mount_claims(of, spec, ordinal)
    return Pod(
        metadata=ObjectMeta(
            name=pod_name(of, ordinal), namespace=of.metadata.namespace,
            labels=template.metadata.labels | identity_labels(of, ordinal) | {REVISION_LABEL: revision},
            annotations=template.metadata.annotations, finalizers=template.metadata.finalizers,
            ownerReferences=[meta.controller_reference(of)],
        ),
        spec=spec,
    )  # fmt: skip


def _mount_claims(of: StatefulSet, spec: PodSpec, ordinal: int) -> None:
    """The claims take the place of the template's volumes of their names."""
    claimed = {c.metadata.name: claim_name(of, c, ordinal) for c in of.spec.volumeClaimTemplates}
    spec.volumes = [
        *(
            Volume(name=volume, persistentVolumeClaim=PersistentVolumeClaimVolumeSource(claimName=claim))
            for volume, claim in claimed.items()
        ),
        *(v for v in spec.volumes if v.name not in claimed),
    ]


def claim_name(of: StatefulSet, template: PersistentVolumeClaim, ordinal: int) -> str:
    return f"{template.metadata.name}-{pod_name(of, ordinal)}"


def claims(of: StatefulSet, ordinal: int) -> list[PersistentVolumeClaim]:
    """The claims that the pod of that ordinal mounts, as they are to be created."""
    made = []
    selected = of.spec.selector.matchLabels if of.spec.selector is not None else {}
    for template in of.spec.volumeClaimTemplates:
        claim = meta.clone(template)
        claim.metadata.name = claim_name(of, template, ordinal)
        claim.metadata.namespace = of.metadata.namespace
        claim.metadata.labels |= selected
        made.append(claim)
    return made
