"""Upstream's validation: the faults of an object, with upstream's field paths, messages and order.

One table says which functions know a kind.  Every function yields faults and changes nothing; what all kinds share
(metadata) is checked here, before the kind's own rules.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from api import names
from api.kinds import Kind
from api.paths import Fault
from apiserver.customs import definitions
from apiserver.rules.validation import (
    addresses,
    admission_policies,
    batch,
    certificates,
    classes,
    clusters,
    configs,
    device_claims,
    device_slices,
    drivers,
    endpoints,
    events,
    extensions,
    flows,
    job_status,
    limits,
    metadata,
    pod_groups,
    pod_updates,
    pods,
    policies,
    services,
    workloads,
)  # fmt: skip

Create = Callable[[Any], Iterator[Fault]]
Update = Callable[[Any, Any], Iterator[Fault]]


@dataclass(frozen=True, slots=True)
class Rules:
    """What a kind has beyond metadata."""

    create: Create | None = None
    update: Update | None = None
    """None: as for a new object."""
    name: metadata.NameRule = names.dns_subdomain_faults
    subresources: tuple[tuple[str, Update], ...] = ()


def _status(function: Update) -> tuple[tuple[str, Update], ...]:
    return (("status", function),)


POD_SUBRESOURCES = (
    ("status", pod_updates.status_updated),
    ("ephemeralcontainers", pod_updates.ephemeral_containers_updated),
    ("resize", pod_updates.resized),
)
REPLICAS = _status(workloads.status_updated)
SEGMENT = names.path_segment_faults
RBAC = "rbac.authorization.k8s.io"

RULES: dict[tuple[str, str], Rules] = {
    ("", "ConfigMap"): Rules(configs.config_map, configs.config_map_updated),
    ("", "Endpoints"): Rules(endpoints.endpoints),
    ("", "Event"): Rules(events.core, name=SEGMENT),
    ("", "LimitRange"): Rules(limits.limit_range),
    ("", "Namespace"): Rules(
        clusters.namespace, clusters.nothing, names.dns_label_faults, _status(clusters.namespace_status_updated)
    ),
    ("", "Node"): Rules(clusters.node, clusters.node_updated, subresources=_status(clusters.node_updated)),
    ("", "PersistentVolume"): Rules(drivers.volume, drivers.volume_updated),
    ("", "PersistentVolumeClaim"): Rules(policies.claim, policies.claim_updated),
    ("", "Pod"): Rules(pods.created, pod_updates.updated, subresources=POD_SUBRESOURCES),
    ("", "PodTemplate"): Rules(pods.pod_template),
    ("", "ReplicationController"): Rules(workloads.replication_controller, subresources=REPLICAS),
    ("", "ResourceQuota"): Rules(limits.quota, limits.quota_updated, subresources=_status(limits.quota_status_updated)),
    ("", "Secret"): Rules(configs.secret, configs.secret_updated),
    ("", "Service"): Rules(
        services.service, services.updated, names.dns_label_faults, _status(services.status_updated)
    ),
    ("flowcontrol.apiserver.k8s.io", "FlowSchema"): Rules(flows.flow_schema, flows.flow_schema_updated),
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"): Rules(
        flows.priority_level, flows.priority_level_updated
    ),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"): Rules(
        admission_policies.mutating, admission_policies.mutating_updated
    ),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"): Rules(
        admission_policies.binding, admission_policies.binding_updated
    ),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"): Rules(
        admission_policies.validating, admission_policies.validating_updated
    ),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"): Rules(
        admission_policies.validating_binding, admission_policies.validating_binding_updated
    ),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): Rules(
        extensions.webhooks, extensions.webhooks_updated
    ),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): Rules(
        extensions.webhooks, extensions.webhooks_updated
    ),
    ("apiregistration.k8s.io", "APIService"): Rules(
        extensions.api_service, extensions.api_service_updated, SEGMENT, _status(extensions.api_service_status_updated)
    ),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): Rules(
        definitions.created, definitions.updated, subresources=_status(definitions.status_updated)
    ),
    ("apps", "ControllerRevision"): Rules(workloads.revision, workloads.revision_updated),
    ("apps", "DaemonSet"): Rules(workloads.daemon_set, workloads.daemon_set_updated),
    ("apps", "Deployment"): Rules(workloads.deployment, workloads.deployment_updated, subresources=REPLICAS),
    ("apps", "ReplicaSet"): Rules(workloads.replica_set, workloads.replica_set_updated, subresources=REPLICAS),
    ("apps", "StatefulSet"): Rules(workloads.stateful_set, workloads.stateful_set_updated),
    ("autoscaling", "HorizontalPodAutoscaler"): Rules(policies.autoscaler),
    ("batch", "CronJob"): Rules(batch.cron_job),
    ("batch", "Job"): Rules(batch.job, batch.job_updated, subresources=_status(job_status.updated)),
    ("certificates.k8s.io", "CertificateSigningRequest"): Rules(
        certificates.created,
        certificates.updated,
        SEGMENT,
        subresources=(("status", certificates.status_updated), ("approval", certificates.approval_updated)),
    ),
    ("coordination.k8s.io", "Lease"): Rules(clusters.lease),
    ("discovery.k8s.io", "EndpointSlice"): Rules(endpoints.endpoint_slice, endpoints.endpoint_slice_updated),
    ("events.k8s.io", "Event"): Rules(events.modern, events.modern_updated),
    ("networking.k8s.io", "Ingress"): Rules(policies.ingress),
    ("networking.k8s.io", "IngressClass"): Rules(classes.ingress_class, classes.ingress_class_updated),
    ("networking.k8s.io", "IPAddress"): Rules(
        addresses.ip_address_object, addresses.ip_address_updated, addresses.address_name_faults
    ),
    ("networking.k8s.io", "NetworkPolicy"): Rules(policies.network_policy),
    ("networking.k8s.io", "ServiceCIDR"): Rules(addresses.service_cidr, addresses.service_cidr_updated),
    ("node.k8s.io", "RuntimeClass"): Rules(classes.runtime_class, classes.runtime_class_updated),
    ("policy", "PodDisruptionBudget"): Rules(policies.disruption_budget),
    (RBAC, "ClusterRole"): Rules(policies.role, name=SEGMENT),
    (RBAC, "ClusterRoleBinding"): Rules(policies.role_binding, policies.role_binding_updated, SEGMENT),
    (RBAC, "Role"): Rules(policies.role, name=SEGMENT),
    (RBAC, "RoleBinding"): Rules(policies.role_binding, policies.role_binding_updated, SEGMENT),
    ("resource.k8s.io", "DeviceClass"): Rules(classes.device_class, classes.device_class_updated),
    ("resource.k8s.io", "ResourceClaim"): Rules(
        device_claims.claim, device_claims.claim_updated, subresources=_status(device_claims.status_updated)
    ),
    ("resource.k8s.io", "ResourceClaimTemplate"): Rules(device_claims.template, device_claims.template_updated),
    ("resource.k8s.io", "ResourceSlice"): Rules(device_slices.slice_, device_slices.slice_updated),
    ("scheduling.k8s.io", "PriorityClass"): Rules(clusters.priority_class, clusters.priority_class_updated),
    ("scheduling.k8s.io", "PodGroup"): Rules(pod_groups.pod_group, pod_groups.pod_group_updated),
    ("scheduling.k8s.io", "Workload"): Rules(pod_groups.workload, pod_groups.workload_updated),
    ("storage.k8s.io", "CSIDriver"): Rules(drivers.csi_driver, drivers.csi_driver_updated),
    ("storage.k8s.io", "CSINode"): Rules(drivers.csi_node, drivers.csi_node_updated),
    ("storage.k8s.io", "CSIStorageCapacity"): Rules(drivers.storage_capacity, drivers.storage_capacity_updated),
    ("storage.k8s.io", "VolumeAttachment"): Rules(drivers.attachment, drivers.attachment_updated),
    ("storage.k8s.io", "VolumeAttributesClass"): Rules(drivers.attributes_class, drivers.attributes_class_updated),
    ("storage.k8s.io", "StorageClass"): Rules(policies.storage_class, policies.storage_class_updated),
}
PLAIN = Rules()
ANY_FINALIZER = {"admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io"}
"""Groups whose objects may have finalizers of any name, as custom ones may."""


def validate(kind: Kind, obj: Any) -> Iterator[Fault]:
    """What is wrong with a new object."""
    rules = RULES.get((kind.group, kind.name), PLAIN)
    yield from metadata.created(obj.metadata, kind.namespaced, rules.name)
    if kind.group not in ANY_FINALIZER:
        yield from metadata.standard_finalizers(obj.metadata)
    if rules.create is not None:
        yield from rules.create(obj)


def validate_update(kind: Kind, new: Any, old: Any, subresource: str = "") -> Iterator[Fault]:
    """What is wrong with `new` in the place of `old`, both as `prepare_update` left them."""
    rules = RULES.get((kind.group, kind.name), PLAIN)
    yield from metadata.updated(new.metadata, old.metadata)
    if kind.group not in ANY_FINALIZER:
        yield from metadata.standard_finalizers(new.metadata)
    if subresource:
        own = dict(rules.subresources).get(subresource)
        if own is not None:
            yield from own(new, old)
    elif rules.update is not None:
        yield from rules.update(new, old)
    elif rules.create is not None:
        yield from rules.create(new)
