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
from apiserver.rules.validation import (
    batch,
    clusters,
    configs,
    endpoints,
    events,
    metadata,
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
    ("", "Namespace"): Rules(
        clusters.namespace, clusters.nothing, names.dns_label_faults, _status(clusters.namespace_status_updated)
    ),
    ("", "Node"): Rules(clusters.node, clusters.node_updated, subresources=_status(clusters.node_updated)),
    ("", "PersistentVolumeClaim"): Rules(policies.claim, policies.claim_updated),
    ("", "Pod"): Rules(pods.created, pod_updates.updated, subresources=POD_SUBRESOURCES),
    ("", "PodTemplate"): Rules(pods.pod_template),
    ("", "ReplicationController"): Rules(workloads.replication_controller, subresources=REPLICAS),
    ("", "Secret"): Rules(configs.secret, configs.secret_updated),
    ("", "Service"): Rules(services.service, services.updated, names.dns_1035_faults, _status(services.status_updated)),
    ("apps", "ControllerRevision"): Rules(workloads.revision, workloads.revision_updated),
    ("apps", "DaemonSet"): Rules(workloads.daemon_set, workloads.daemon_set_updated),
    ("apps", "Deployment"): Rules(workloads.deployment, workloads.deployment_updated, subresources=REPLICAS),
    ("apps", "ReplicaSet"): Rules(workloads.replica_set, workloads.replica_set_updated, subresources=REPLICAS),
    ("apps", "StatefulSet"): Rules(workloads.stateful_set, workloads.stateful_set_updated),
    ("autoscaling", "HorizontalPodAutoscaler"): Rules(policies.autoscaler),
    ("batch", "CronJob"): Rules(batch.cron_job),
    ("batch", "Job"): Rules(batch.job, batch.job_updated),
    ("coordination.k8s.io", "Lease"): Rules(clusters.lease),
    ("discovery.k8s.io", "EndpointSlice"): Rules(endpoints.endpoint_slice, endpoints.endpoint_slice_updated),
    ("events.k8s.io", "Event"): Rules(events.modern, events.modern_updated),
    ("networking.k8s.io", "Ingress"): Rules(policies.ingress),
    ("networking.k8s.io", "NetworkPolicy"): Rules(policies.network_policy),
    ("policy", "PodDisruptionBudget"): Rules(policies.disruption_budget),
    (RBAC, "ClusterRole"): Rules(policies.role, name=SEGMENT),
    (RBAC, "ClusterRoleBinding"): Rules(policies.role_binding, policies.role_binding_updated, SEGMENT),
    (RBAC, "Role"): Rules(policies.role, name=SEGMENT),
    (RBAC, "RoleBinding"): Rules(policies.role_binding, policies.role_binding_updated, SEGMENT),
    ("scheduling.k8s.io", "PriorityClass"): Rules(clusters.priority_class, clusters.priority_class_updated),
    ("storage.k8s.io", "StorageClass"): Rules(policies.storage_class, policies.storage_class_updated),
}
PLAIN = Rules()


def validate(kind: Kind, obj: Any) -> list[Fault]:
    """What is wrong with a new object; empty if nothing."""
    rules = RULES.get((kind.group, kind.name), PLAIN)
    faults = list(metadata.created(obj.metadata, kind.namespaced, rules.name))
    if rules.create is not None:
        faults += rules.create(obj)
    return faults


def validate_update(kind: Kind, new: Any, old: Any, subresource: str = "") -> list[Fault]:
    """What is wrong with `new` in the place of `old`, both as `prepare_update` left them; empty if nothing."""
    rules = RULES.get((kind.group, kind.name), PLAIN)
    faults = list(metadata.updated(new.metadata, old.metadata))
    if subresource:
        own = dict(rules.subresources).get(subresource)
        return faults + list(own(new, old)) if own is not None else faults
    if rules.update is not None:
        faults += rules.update(new, old)
    elif rules.create is not None:
        faults += rules.create(new)
    return faults
