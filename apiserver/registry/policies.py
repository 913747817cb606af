"""What differs from kind to kind in how the generic verbs treat it (upstream: the strategies of its registry)."""

from api.kinds import Kind

CREATED_BY_UPDATE = frozenset(
    {
        "endpoints", "events", "limitranges", "services", "coordination.k8s.io/leases", "events.k8s.io/events",
        "node.k8s.io/runtimeclasses",
        "rbac.authorization.k8s.io/clusterrolebindings", "rbac.authorization.k8s.io/clusterroles",
        "rbac.authorization.k8s.io/rolebindings", "rbac.authorization.k8s.io/roles",
    }
)  # fmt: skip
"""A PUT to a name that does not exist creates the object."""

_NEEDS_VERSION = frozenset(
    {
        "admissionregistration.k8s.io/mutatingadmissionpolicies",
        "admissionregistration.k8s.io/mutatingadmissionpolicybindings",
        "admissionregistration.k8s.io/mutatingwebhookconfigurations",
        "admissionregistration.k8s.io/validatingadmissionpolicies",
        "admissionregistration.k8s.io/validatingadmissionpolicybindings",
        "admissionregistration.k8s.io/validatingwebhookconfigurations",
        "apiextensions.k8s.io/customresourcedefinitions", "apiregistration.k8s.io/apiservices",
        "coordination.k8s.io/leases", "node.k8s.io/runtimeclasses", "policy/poddisruptionbudgets",
        "storage.k8s.io/csidrivers", "storage.k8s.io/csinodes", "storage.k8s.io/csistoragecapacities",
        "storage.k8s.io/volumeattachments",
    }
)  # fmt: skip

RETURNS_DELETED = frozenset(
    {
        "persistentvolumeclaims", "persistentvolumes", "pods", "podtemplates", "resourcequotas", "serviceaccounts",
        "services", "resource.k8s.io/deviceclasses", "resource.k8s.io/resourceclaims",
        "resource.k8s.io/resourceclaimtemplates", "resource.k8s.io/resourceslices", "storage.k8s.io/csidrivers",
        "storage.k8s.io/csinodes", "storage.k8s.io/storageclasses", "storage.k8s.io/volumeattachments",
        "storage.k8s.io/volumeattributesclasses",
    }
)  # fmt: skip
"""A finished delete answers with the object as it last was, not with a Status."""

ORPHANS_BY_DEFAULT = frozenset({"replicationcontrollers", "batch/jobs"})
"""Dependents survive unless the delete says otherwise, for compatibility with clients of the first days."""

WITHOUT_DEPENDENTS = frozenset({"events", "events.k8s.io/events"})
"""There are too many of them to ask whether anybody hangs on one that is deleted."""


def resource(kind: Kind) -> str:
    return f"{kind.group}/{kind.plural}" if kind.group else kind.plural


def needs_version(kind: Kind) -> bool:
    """Whether an update must say which revision it replaces."""
    return kind.custom or resource(kind) in _NEEDS_VERSION
