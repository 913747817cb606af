"""The least that every stored kind asks for: what `kubectl create` would need to be told, beside the name."""

from typing import Any

from api.kinds import Kind

CONTAINER = {"name": "main", "image": "registry.invalid/pause:1"}
LABELS = {"app": "sample"}
TEMPLATE = {"metadata": {"labels": LABELS}, "spec": {"containers": [CONTAINER]}}
JOB_TEMPLATE = {"spec": {"restartPolicy": "Never", "containers": [CONTAINER]}}
SELECTED: dict[str, Any] = {"selector": {"matchLabels": LABELS}, "template": TEMPLATE, "replicas": 0}
TIME = "2026-01-01T00:00:00.000000Z"
WEBHOOK = {
    "name": "hook.sample.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
    "clientConfig": {"url": "https://localhost:1/none"}, "failurePolicy": "Ignore",
    "namespaceSelector": {"matchLabels": {"nowhere": "at-all"}},
    "rules": [{"apiGroups": ["sample.example.com"], "apiVersions": ["v1"], "operations": ["*"], "resources": ["*"]}],
}  # fmt: skip
MATCH = {
    "resourceRules": [
        {"apiGroups": ["sample.example.com"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["things"]}
    ]
}
POLICY = {"failurePolicy": "Ignore", "matchConstraints": MATCH}
MUTATION = {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{}"}}
ABOUT = {"apiVersion": "v1", "kind": "ConfigMap", "name": "thing"}
HAPPENED = {"action": "Doing", "reason": "Reason", "type": "Normal", "eventTime": TIME}
METRIC = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}
TARGET = {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "sample"}}
SUBJECTS = [{"kind": "User", "name": "nobody", "apiGroup": "rbac.authorization.k8s.io"}]
RULES = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "none"}
VOLUME = {
    "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "persistentVolumeReclaimPolicy": "Retain",
    "csi": {"driver": "sample.example.com", "volumeHandle": "one"}, "storageClassName": "none",
}  # fmt: skip
FLOW = {
    "priorityLevelConfiguration": {"name": "global-default"}, "matchingPrecedence": 9999,
    "distinguisherMethod": {"type": "ByUser"},
}  # fmt: skip
DEVICES = {"requests": [{"name": "one", "exactly": {"deviceClassName": "sample.example.com"}}]}
CHOICE = {"selectors": [{"cel": {"expression": "device.driver == 'sample.example.com'"}}]}
SLICE = {
    "driver": "sample.example.com", "pool": {"name": "sample", "generation": 1, "resourceSliceCount": 1},
    "nodeName": "somewhere", "devices": [{"name": "one"}],
}  # fmt: skip

SAMPLES: dict[str, dict[str, Any]] = {
    "ConfigMap": {"data": {"a": "b"}},
    "Endpoints": {"subsets": [{"addresses": [{"ip": "192.0.2.7"}], "ports": [{"port": 80}]}]},
    "v1/Event": {"involvedObject": {**ABOUT, "namespace": "NAMESPACE"}, "reason": "Reason", "message": "words"},
    "LimitRange": {"spec": {"limits": [{"type": "Pod", "max": {"cpu": "100"}}]}},
    "Namespace": {},
    "Node": {"spec": {"unschedulable": True}},
    "PersistentVolumeClaim": {"spec": CLAIM},
    "PersistentVolume": {"spec": VOLUME},
    "Pod": {"spec": {"containers": [CONTAINER], "schedulingGates": [{"name": "sample.example.com/not-yet"}]}},
    "PodTemplate": {"template": TEMPLATE},
    "ReplicationController": {"spec": {"replicas": 0, "selector": LABELS, "template": TEMPLATE}},
    "ResourceQuota": {"spec": {"hard": {"pods": "1000"}}},
    "Secret": {"data": {"a": "Yg=="}},
    "ServiceAccount": {},
    "Service": {"spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}},
    "MutatingAdmissionPolicy": {"spec": {**POLICY, "reinvocationPolicy": "Never", "mutations": [MUTATION]}},
    "MutatingAdmissionPolicyBinding": {"spec": {"policyName": "sample"}},
    "MutatingWebhookConfiguration": {"webhooks": [WEBHOOK]},
    "ValidatingAdmissionPolicy": {"spec": {**POLICY, "validations": [{"expression": "true"}]}},
    "ValidatingAdmissionPolicyBinding": {"spec": {"policyName": "sample", "validationActions": ["Deny"]}},
    "ValidatingWebhookConfiguration": {"webhooks": [WEBHOOK]},
    "ControllerRevision": {"revision": 1, "data": {"spec": {"a": "b"}}},
    "DaemonSet": {"spec": {"selector": {"matchLabels": LABELS}, "template": {
        "metadata": {"labels": LABELS}, "spec": {"containers": [CONTAINER], "nodeSelector": {"nowhere": "at-all"}}}}},
    "Deployment": {"spec": SELECTED},
    "ReplicaSet": {"spec": SELECTED},
    "StatefulSet": {"spec": {**SELECTED, "serviceName": "sample"}},
    "v2/HorizontalPodAutoscaler": {"spec": {**TARGET, "metrics": [METRIC]}},
    "v1/HorizontalPodAutoscaler": {"spec": {**TARGET, "targetCPUUtilizationPercentage": 50}},
    "CronJob": {"spec": {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": {"spec": {"template": JOB_TEMPLATE}}}},
    "Job": {"spec": {"suspend": True, "template": JOB_TEMPLATE}},
    "Lease": {"spec": {"holderIdentity": "me", "leaseDurationSeconds": 30, "acquireTime": TIME, "renewTime": TIME}},
    "EndpointSlice": {"addressType": "IPv4", "endpoints": [{"addresses": ["192.0.2.7"]}], "ports": [{"port": 80}]},
    "events.k8s.io/v1/Event": {
        **HAPPENED, "regarding": {**ABOUT, "namespace": "NAMESPACE"}, "note": "words",
        "reportingController": "sample.example.com/one", "reportingInstance": "one",
    },
    "FlowSchema": {"spec": FLOW},
    "PriorityLevelConfiguration": {"spec": {"type": "Limited", "limited": {
        "nominalConcurrencyShares": 2, "limitResponse": {"type": "Reject"}}}},
    "IngressClass": {"spec": {"controller": "sample.example.com/one"}},
    "Ingress": {"spec": {"defaultBackend": {"service": {"name": "sample", "port": {"number": 80}}}}},
    "IPAddress": {"spec": {"parentRef": {"resource": "services", "name": "sample", "namespace": "default"}}},
    "NetworkPolicy": {"spec": {"podSelector": {}}},
    "ServiceCIDR": {"spec": {"cidrs": ["CIDR"]}},
    "RuntimeClass": {"handler": "sample"},
    "PodDisruptionBudget": {"spec": {"minAvailable": 1, "selector": {"matchLabels": LABELS}}},
    "ClusterRoleBinding": {"subjects": SUBJECTS, "roleRef": {
        "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}},
    "ClusterRole": {"rules": RULES},
    "RoleBinding": {"subjects": SUBJECTS, "roleRef": {
        "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "sample"}},
    "Role": {"rules": RULES},
    "DeviceClass": {"spec": CHOICE},
    "ResourceClaim": {"spec": {"devices": DEVICES}},
    "ResourceClaimTemplate": {"spec": {"spec": {"devices": DEVICES}}},
    "ResourceSlice": {"spec": SLICE},
    "PriorityClass": {"value": 7},
    "CSIDriver": {"spec": {"attachRequired": False}},
    "CSINode": {"spec": {"drivers": []}},
    "CSIStorageCapacity": {"storageClassName": "none", "capacity": "1Gi"},
    "StorageClass": {"provisioner": "sample.example.com"},
    "VolumeAttachment": {"spec": {
        "attacher": "sample.example.com", "nodeName": "somewhere", "source": {"persistentVolumeName": "one"}}},
    "VolumeAttributesClass": {"driverName": "sample.example.com", "parameters": {"a": "b"}},
    "CertificateSigningRequest": {},
    "CustomResourceDefinition": {},
    "APIService": {},
}  # fmt: skip

CONDITION = {
    "type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set from a test",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}  # fmt: skip
ALLOCATION = {
    "devices": {"results": [{"driver": "sample.example.com", "pool": "sample", "device": "one", "request": "one"}]}
}
BALANCED = {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}}
BALANCED_SERVICE = {"loadBalancer": {"ingress": [{"ip": "203.0.113.1", "ipMode": "VIP"}]}}
STATUSES: dict[str, dict[str, Any]] = {
    "Namespace": {"conditions": [CONDITION]},
    "Node": {"conditions": [CONDITION]},
    "PersistentVolumeClaim": {"conditions": [CONDITION]},
    "PersistentVolume": {"reason": "E2E", "message": "Set from a test"},
    "Pod": {"message": "Patched by a test", "reason": "E2E"},
    "ReplicationController": {"conditions": [CONDITION]},
    "ResourceQuota": {"hard": {"pods": "999"}},
    "Service": BALANCED_SERVICE,
    "ValidatingAdmissionPolicy": {"conditions": [CONDITION]},
    "DaemonSet": {"conditions": [CONDITION]},
    "Deployment": {"conditions": [CONDITION]},
    "ReplicaSet": {"conditions": [CONDITION]},
    "StatefulSet": {"conditions": [CONDITION]},
    "HorizontalPodAutoscaler": {"desiredReplicas": 2},
    "CronJob": {"lastScheduleTime": "2026-01-01T00:00:00Z"},
    "Job": {"conditions": [CONDITION]},
    "FlowSchema": {"conditions": [CONDITION]},
    "PriorityLevelConfiguration": {"conditions": [CONDITION]},
    "Ingress": BALANCED,
    "ServiceCIDR": {"conditions": [CONDITION]},
    "PodDisruptionBudget": {"currentHealthy": 5, "conditions": [CONDITION]},
    "ResourceClaim": {"reservedFor": [{"resource": "pods", "name": "some", "uid": "some"}], "allocation": ALLOCATION},
    "VolumeAttachment": {"attached": True},
}


def sample(kind: Kind, namespace: str) -> dict[str, Any]:
    """A new object of that kind without its name."""
    found = SAMPLES.get(kind.name) or SAMPLES.get(f"{kind.api_version}/{kind.name}")
    found = found or SAMPLES.get(f"{kind.version}/{kind.name}") or {}
    body = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": {}, **found}
    for about in ("involvedObject", "regarding"):
        if about in body:
            body[about] = {**body[about], "namespace": namespace}
    return body
