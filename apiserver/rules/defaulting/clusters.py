"""Small kinds: namespaces, nodes, secrets, bindings of roles, and others with a line or two of defaults."""

import base64

from api.types import ClusterRoleBinding, LimitRange, Namespace, Node, PriorityClass, RoleBinding, Secret

NAME_LABEL = "kubernetes.io/metadata.name"
RBAC = "rbac.authorization.k8s.io"


def namespace(obj: Namespace) -> None:
    if obj.metadata.name:
        obj.metadata.labels[NAME_LABEL] = obj.metadata.name
    obj.status.phase = obj.status.phase or "Active"


def node(obj: Node) -> None:
    if not obj.status.allocatable and obj.status.capacity:
        obj.status.allocatable = dict(obj.status.capacity)
    if obj.spec.podCIDR and not obj.spec.podCIDRs:
        obj.spec.podCIDRs = [obj.spec.podCIDR]
    elif obj.spec.podCIDRs and not obj.spec.podCIDR:
        obj.spec.podCIDR = obj.spec.podCIDRs[0]


def secret(obj: Secret) -> None:
    obj.type = obj.type or "Opaque"
    # stringData is only ever written: it is what data holds, before base64.
    for key, text in obj.stringData.items():
        obj.data[key] = base64.b64encode(text.encode()).decode()
    obj.stringData = {}


def role_binding(obj: RoleBinding | ClusterRoleBinding) -> None:
    obj.roleRef.apiGroup = obj.roleRef.apiGroup or RBAC
    for subject in obj.subjects:
        if not subject.apiGroup and subject.kind in ("User", "Group"):
            subject.apiGroup = RBAC


def priority_class(obj: PriorityClass) -> None:
    obj.preemptionPolicy = obj.preemptionPolicy or "PreemptLowerPriority"


def limit_range(obj: LimitRange) -> None:
    for item in obj.spec.limits:
        if item.type != "Container":
            continue
        # A limit is the default of what may be requested, and the greatest limit that of the limit.
        for name, value in item.max.items():
            item.default.setdefault(name, value)
        for name, value in item.default.items():
            item.defaultRequest.setdefault(name, value)
        for name, value in item.min.items():
            item.defaultRequest.setdefault(name, value)
