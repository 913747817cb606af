"""What upstream's SetDefaults_* functions fill in where a document says nothing.

A function per kind, in a table; those of pods stand in `api.pod_defaults`, since kubelets have them too.  Defaults are
a property of the object alone: what depends on other objects is admission's business.
"""

from collections.abc import Callable
from typing import Any

from api import pod_defaults
from api.kinds import Kind
from apiserver.customs import definitions
from apiserver.rules.defaulting import (
    admission_policies,
    clusters,
    devices,
    extensions,
    flows,
    networks,
    services,
    storages,
    workloads,
)

DEFAULTS: dict[tuple[str, str], Callable[[Any], None]] = {
    ("", "Endpoints"): services.endpoints,
    ("", "Namespace"): clusters.namespace,
    ("", "Node"): clusters.node,
    ("", "LimitRange"): clusters.limit_range,
    ("", "PersistentVolume"): storages.volume,
    ("", "PersistentVolumeClaim"): storages.claim,
    ("", "Pod"): pod_defaults.pod,
    ("", "PodTemplate"): lambda obj: pod_defaults.spec(obj.template.spec) if obj.template is not None else None,
    ("", "ReplicationController"): workloads.replication_controller,
    ("", "Secret"): clusters.secret,
    ("", "Service"): services.service,
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"): admission_policies.policy,
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"): admission_policies.binding,
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"): admission_policies.policy,
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"): admission_policies.binding,
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): extensions.mutating_webhooks,
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): extensions.webhooks,
    ("apiregistration.k8s.io", "APIService"): extensions.api_service,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): definitions.default,
    ("apps", "DaemonSet"): workloads.daemon_set,
    ("apps", "Deployment"): workloads.deployment,
    ("apps", "ReplicaSet"): workloads.replica_set,
    ("apps", "StatefulSet"): workloads.stateful_set,
    ("autoscaling", "HorizontalPodAutoscaler"): workloads.autoscaler,
    ("batch", "CronJob"): workloads.cron_job,
    ("batch", "Job"): workloads.job,
    ("discovery.k8s.io", "EndpointSlice"): services.endpoint_slice,
    ("flowcontrol.apiserver.k8s.io", "FlowSchema"): flows.flow_schema,
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"): flows.priority_level,
    ("networking.k8s.io", "IngressClass"): networks.ingress_class,
    ("networking.k8s.io", "NetworkPolicy"): networks.policy,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): clusters.role_binding,
    ("rbac.authorization.k8s.io", "RoleBinding"): clusters.role_binding,
    ("resource.k8s.io", "ResourceClaim"): devices.claim,
    ("resource.k8s.io", "ResourceClaimTemplate"): devices.template,
    ("resource.k8s.io", "ResourceSlice"): devices.slice_,
    ("scheduling.k8s.io", "PriorityClass"): clusters.priority_class,
    ("storage.k8s.io", "CSIDriver"): storages.driver,
    ("storage.k8s.io", "StorageClass"): storages.storage_class,
}


def default(kind: Kind, obj: Any) -> None:
    """Fill in the defaults of `obj` in place. Doing it twice changes nothing more."""
    if function := DEFAULTS.get((kind.group, kind.name)):
        function(obj)
