"""Which parts of an object a verb may set: the API server owns the rest.

A creation has no status, an update of an object leaves its status alone, an update of its status leaves the rest alone;
metadata.generation counts the changes of what was asked for.
https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md
"""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from api.kinds import Kind
from api.qos import qos_class
from api.types import (
    DaemonSet,
    Job,
    LabelSelector,
    LoadBalancerStatus,
    Namespace,
    Node,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
    PodCondition,
    PodGroup,
    PodGroupSpec,
    PodGroupTemplate,
    Workload,
)  # fmt: skip
from apiserver.customs import definitions
from apiserver.patching.schemas import METADATA_BESIDE_STATUS
from apiserver.rules import device_parts, pod_parts

# Kinds that count generations; of the others, metadata.generation stays absent.
COUNTED = {
    ("", "Pod"), ("", "ReplicationController"), ("apps", "DaemonSet"), ("apps", "Deployment"), ("apps", "ReplicaSet"),
    ("apps", "StatefulSet"), ("batch", "CronJob"), ("batch", "Job"), ("discovery.k8s.io", "EndpointSlice"),
    ("autoscaling", "HorizontalPodAutoscaler"),
    ("networking.k8s.io", "Ingress"), ("networking.k8s.io", "IngressClass"), ("networking.k8s.io", "NetworkPolicy"),
    ("policy", "PodDisruptionBudget"), ("resource.k8s.io", "DeviceClass"), ("resource.k8s.io", "ResourceSlice"),
    ("scheduling.k8s.io", "PriorityClass"),
    ("scheduling.k8s.io", "PodGroup"), ("scheduling.k8s.io", "Workload"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"), ("flowcontrol.apiserver.k8s.io", "FlowSchema"),
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"),
}  # fmt: skip
TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
APART = {"apiVersion", "kind", "metadata", "status"}


def prepare_create(kind: Kind, obj: Any) -> None:
    """Take out of a new object what its creator may not set."""
    metadata = obj.metadata
    metadata.deletionTimestamp = metadata.selfLink = ""
    metadata.deletionGracePeriodSeconds = None
    metadata.generation = 1 if (kind.group, kind.name) in COUNTED else None
    if "status" in kind.subresources and (kind.group, kind.name) != ("", "Node"):  # nodes register with their status
        obj.status = type(obj.status)()
    if first := FIRST.get((kind.group, kind.name)):
        first(obj)


def prepare_update(kind: Kind, new: Any, old: Any, subresource: str = "") -> None:
    """Put back into `new` what a write to that subresource ("" is the object itself) leaves alone.

    `new` shares parts of `old` afterwards: it is for validating and encoding, no longer for changing.
    """
    _keep_metadata(new.metadata, old.metadata)
    if "status" in kind.subresources:
        if subresource == "status":
            for name in new.__struct_fields__:
                if name not in APART:
                    setattr(new, name, getattr(old, name))
            for name in METADATA_BESIDE_STATUS.get(kind.type.__name__, ()):
                setattr(new.metadata, name, getattr(old.metadata, name))
        elif subresource != "approval":
            new.status = old.status
    if kind.name == "Namespace" and kind.group == "" and subresource == "":
        new.spec.finalizers = old.spec.finalizers
    elif kind.name == "Service" and subresource == "" and new.spec.type != "LoadBalancer":
        new.status = replace(new.status, loadBalancer=LoadBalancerStatus())
    elif kind.name == "Pod" and subresource:
        pod_parts.keep_to(new, old, subresource)
    elif kind.name == "CertificateSigningRequest":
        _keep_request(new, old, subresource)
    elif kind.name == "CustomResourceDefinition":
        definitions.prepare_update(new, old, subresource)
    elif kind.name == "DaemonSet" and subresource == "":
        count_templates(new, old)
    elif kind.group == "resource.k8s.io":
        device_parts.prepare_update(new, old, subresource)
    if subresource != "status" and (kind.group, kind.name) in COUNTED and _changed(kind, new, old):
        new.metadata.generation = (old.metadata.generation or 0) + 1


def _keep_request(new: Any, old: Any, subresource: str) -> None:
    """What is to be signed never changes; a decision sets conditions and nothing else of the status."""
    new.spec = old.spec
    if subresource == "approval":
        new.status.certificate = old.status.certificate


def _keep_metadata(new: Any, old: Any) -> None:
    new.uid = new.uid or old.uid
    new.selfLink = ""
    new.creationTimestamp = old.creationTimestamp
    new.generation = old.generation
    # Only the verb delete begins a deletion, and nobody takes one back.
    new.deletionTimestamp = old.deletionTimestamp
    new.deletionGracePeriodSeconds = old.deletionGracePeriodSeconds


def _changed(kind: Kind, new: Any, old: Any) -> bool:
    if any(getattr(new, name) != getattr(old, name) for name in new.__struct_fields__ if name not in APART):
        return True
    if kind.name == "Deployment":  # its annotations are handed on to replica sets
        return bool(new.metadata.annotations != old.metadata.annotations)
    return kind.name == "EndpointSlice" and bool(new.metadata.labels != old.metadata.labels)


def count_templates(new: DaemonSet, old: DaemonSet | None = None) -> None:
    """The template's own generation, once a field of the spec, stays an annotation that nobody else may set."""
    before = old.metadata.annotations.get(TEMPLATE_GENERATION, "1") if old is not None else "0"
    number = int(before) if before.isascii() and before.isdigit() else 0
    changed = old is None or new.spec.template != old.spec.template
    new.metadata.annotations[TEMPLATE_GENERATION] = str(number + changed)


def _pod(obj: Pod) -> None:
    obj.status.phase = "Pending"
    obj.status.qosClass = qos_class(obj.spec)
    if obj.spec.schedulingGates:
        obj.status.conditions = [
            PodCondition(
                type="PodScheduled", status="False", reason="SchedulingGated",
                message="Scheduling is blocked due to non-empty scheduling gates",
            )
        ]  # fmt: skip


def _namespace(obj: Namespace) -> None:
    obj.status.phase = "Active"
    if "kubernetes" not in obj.spec.finalizers:
        obj.spec.finalizers.append("kubernetes")


def _node(obj: Node) -> None:
    obj.spec.configSource = None


def _job(obj: Job) -> None:
    """Unless its author selects by hand, a job's pods are those with its uid, which no other job can have."""
    if obj.spec.manualSelector:
        return
    labels, uid, name = obj.spec.template.metadata.labels, obj.metadata.uid, obj.metadata.name
    for key, value in (("controller-uid", uid), ("job-name", name)):
        labels.setdefault(key, value)
        labels.setdefault(f"batch.kubernetes.io/{key}", value)
    if obj.spec.selector is None:
        obj.spec.selector = LabelSelector()
    obj.spec.selector.matchLabels.setdefault("batch.kubernetes.io/controller-uid", uid)
    # A job without labels has its pods'.  Left to the default of the next write, they would belong to its author.
    obj.metadata.labels = obj.metadata.labels or dict(labels)


def _pending(obj: PersistentVolume | PersistentVolumeClaim) -> None:
    obj.status.phase = "Pending"


def _pod_group(obj: PodGroup) -> None:
    """What belongs to features that are not there is not kept, as upstream without their gates."""
    obj.spec.parentCompositePodGroupName = obj.spec.preemptionPolicy = ""
    _group_basics(obj.spec)


def _workload(obj: Workload) -> None:
    obj.spec.compositePodGroupTemplates = []
    for template in obj.spec.podGroupTemplates:
        template.preemptionPolicy = ""
        _group_basics(template)


def _group_basics(it: PodGroupSpec | PodGroupTemplate) -> None:
    it.schedulingConstraints = None
    it.resourceClaims = []


FIRST: dict[tuple[str, str], Callable[[Any], None]] = {
    ("", "Pod"): _pod,
    ("", "Namespace"): _namespace,
    ("", "Node"): _node,
    ("", "PersistentVolume"): _pending,
    ("", "PersistentVolumeClaim"): _pending,
    ("batch", "Job"): _job,
    ("apps", "DaemonSet"): count_templates,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): definitions.prepare_create,
    ("resource.k8s.io", "ResourceClaim"): device_parts.claim,
    ("resource.k8s.io", "ResourceClaimTemplate"): device_parts.template,
    ("resource.k8s.io", "ResourceSlice"): device_parts.slice_,
    ("scheduling.k8s.io", "PodGroup"): _pod_group,
    ("scheduling.k8s.io", "Workload"): _workload,
}
