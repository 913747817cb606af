"""Good manifests, ways to spoil them, and what the rules say then."""

import copy
import json
from typing import Any

from api import kinds, meta
from apiserver.rules import decode, default, prepare_create, prepare_update, validate, validate_update

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p", "namespace": "ns"},
    "spec": {"containers": [{"name": "c", "image": "i:1"}]},
}
TEMPLATE = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
MANIFESTS: dict[str, dict[str, Any]] = {
    "Pod": POD,
    "ReplicationController": {
        "apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "r", "namespace": "ns"},
        "spec": {"replicas": 1, "selector": {"app": "x"}, "template": TEMPLATE},
    },
    "ReplicaSet": {
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "r", "namespace": "ns"},
        "spec": {"selector": {"matchLabels": {"app": "x"}}, "template": TEMPLATE},
    },
    "Deployment": {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "ns"},
        "spec": {"selector": {"matchLabels": {"app": "x"}}, "template": TEMPLATE},
    },
    "DaemonSet": {
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "d", "namespace": "ns"},
        "spec": {"selector": {"matchLabels": {"app": "x"}}, "template": TEMPLATE},
    },
    "StatefulSet": {
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "s", "namespace": "ns"},
        "spec": {"selector": {"matchLabels": {"app": "x"}}, "template": TEMPLATE, "serviceName": "s"},
    },
    "Job": {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "ns"},
        "spec": {"template": {**TEMPLATE, "spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}},
    },
    "CronJob": {
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "c", "namespace": "ns"},
        "spec": {"schedule": "*/5 * * * *", "jobTemplate": {"spec": {
            "template": {**TEMPLATE, "spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}}}},
    },
    "Service": {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "ns"},
        "spec": {"ports": [{"port": 80}], "selector": {"app": "x"}},
    },
    "ConfigMap": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "ns"}},
    "Secret": {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "ns"}},
    "Namespace": {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}},
    "Node": {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}},
    "Lease": {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l", "namespace": "ns"}},
    "ServiceAccount": {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a", "namespace": "ns"}},
    "PriorityClass": {
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "p"}, "value": 7,
    },
    "Endpoints": {
        "apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "e", "namespace": "ns"},
        "subsets": [{"addresses": [{"ip": "10.244.0.5"}], "ports": [{"port": 80}]}],
    },
    "EndpointSlice": {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "e", "namespace": "ns"},
        "addressType": "IPv4", "endpoints": [{"addresses": ["10.244.0.5"]}], "ports": [{"port": 80}],
    },
    "Event": {
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e.1", "namespace": "ns"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "ns"}, "reason": "R", "message": "m",
    },
    "events.k8s.io/Event": {
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e.1", "namespace": "ns"},
        "regarding": {"kind": "Pod", "name": "p", "namespace": "ns"}, "reason": "R", "note": "m", "action": "A",
        "type": "Normal", "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "c",
        "reportingInstance": "i",
    },
    "PersistentVolumeClaim": {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c", "namespace": "ns"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    },
    "StorageClass": {
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "c"}, "provisioner": "a.b/c",
    },
    "Ingress": {
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "i", "namespace": "ns"},
        "spec": {"rules": [{"host": "a.b", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {
            "service": {"name": "s", "port": {"number": 80}}}}]}}]},
    },
    "NetworkPolicy": {
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "n", "namespace": "ns"},
        "spec": {"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}], "ports": [{"port": 80}]}]},
    },
    "RoleBinding": {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "system:x", "namespace": "ns"}, "roleRef": {"kind": "Role", "name": "r"},
        "subjects": [{"kind": "User", "name": "u"}],
    },
    "ClusterRole": {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "system:x"},
        "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}],
    },
    "PodDisruptionBudget": {
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "p", "namespace": "ns"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}},
    },
    "HorizontalPodAutoscaler": {
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h", "namespace": "ns"},
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}},
    },
}  # fmt: skip
DROP = object()
"""As a value in `changed`: the field is taken out."""


def changed(manifest: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy in which the fields at these paths (`spec/containers/0/image`) are other ones."""
    out = copy.deepcopy(manifest)
    for path, value in changes.items():
        *way, last = path.split("/")
        at: Any = out
        for step in way:
            at = at[int(step)] if isinstance(at, list) else at.setdefault(step, {})
        if value is DROP:
            at.pop(last, None)
        elif isinstance(at, list):
            at[int(last)] = value
        else:
            at[last] = value
    return out


def made(name: str, changes: dict[str, Any] | None = None) -> Any:
    """The object, as it is before validation on creation."""
    manifest = changed(MANIFESTS[name], changes or {})
    kind = kinds.by_name(manifest["apiVersion"], manifest["kind"])
    assert kind is not None
    obj, warnings = decode(kind, json.dumps(manifest).encode(), validation="Strict")
    assert warnings == []
    default(kind, obj)
    prepare_create(kind, obj)
    return obj


def faults(name: str, changes: dict[str, Any] | None = None) -> list[str]:
    obj = made(name, changes)
    return list(map(str, validate(meta.kind_of(obj), obj)))


def update_faults(
    name: str, changes: dict[str, Any], before: dict[str, Any] | None = None, subresource: str = ""
) -> list[str]:
    """What is said of the changed object in the place of the good one."""
    manifest = changed(MANIFESTS[name], before or {})
    kind = kinds.by_name(manifest["apiVersion"], manifest["kind"])
    assert kind is not None
    both = []
    for each in (manifest, changed(manifest, changes)):
        obj, _ = decode(kind, json.dumps(each).encode())
        default(kind, obj)
        both.append(obj)
    old, new = both
    prepare_update(kind, new, old, subresource)
    return list(map(str, validate_update(kind, new, old, subresource)))
