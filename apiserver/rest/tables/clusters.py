"""Tables of what a cluster consists of and is governed by: nodes, namespaces, events, quotas, roles, certificates."""

from typing import Any

from api import quantities
from api.types import (
    CertificateSigningRequest,
    ComponentStatus,
    ConfigMap,
    Event,
    EventsV1Event,
    Lease,
    Namespace,
    Node,
    PriorityClass,
    ResourceQuota,
    RuntimeClass,
    Secret,
    ServiceAccount,
)
from apiserver.rest.tables.columns import Printer, age, columns, duration, since

_ROLE_PREFIX = "node-role.kubernetes.io/"


def _node(obj: Node, now: float) -> list[Any]:
    ready = next((c for c in obj.status.conditions if c.type == "Ready"), None)
    state = "Unknown" if ready is None else "Ready" if ready.status == "True" else "NotReady"
    info = obj.status.nodeInfo
    return [
        obj.metadata.name, state + (",SchedulingDisabled" if obj.spec.unschedulable else ""), _roles(obj),
        age(obj, now), info.kubeletVersion, _address(obj, "InternalIP"), _address(obj, "ExternalIP"),
        info.osImage or "<unknown>", info.kernelVersion or "<unknown>", info.containerRuntimeVersion or "<unknown>",
    ]  # fmt: skip


def _roles(obj: Node) -> str:
    found = {k.removeprefix(_ROLE_PREFIX) for k in obj.metadata.labels if k.startswith(_ROLE_PREFIX)}
    found.add(obj.metadata.labels.get("kubernetes.io/role", ""))
    return ",".join(sorted(found - {""})) or "<none>"


def _address(obj: Node, type_: str) -> str:
    return next((a.address or "" for a in obj.status.addresses if a.type == type_), "<none>")


def _event(obj: Event, now: float) -> list[Any]:
    source = obj.source
    return _event_cells(
        obj, now,
        (obj.firstTimestamp, obj.lastTimestamp, obj.count or 0),
        obj.involvedObject,
        (source.component or obj.reportingComponent, source.host or obj.reportingInstance),
        obj.message,
    )  # fmt: skip


def _new_event(obj: EventsV1Event, now: float) -> list[Any]:
    source = obj.deprecatedSource
    return _event_cells(
        obj, now,
        (obj.deprecatedFirstTimestamp, obj.deprecatedLastTimestamp, obj.deprecatedCount or 0),
        obj.regarding,
        ((source.component if source else "") or obj.reportingController,
         (source.host if source else "") or obj.reportingInstance),
        obj.note,
    )  # fmt: skip


def _event_cells(
    obj: Any, now: float, seen: tuple[str, str, int], about: Any, source: tuple[str, str], message: str
) -> list[Any]:
    first_time, last_time, count = seen
    first = since(first_time or obj.eventTime, now)
    last = since(last_time, now) if last_time else first
    if obj.series is not None:
        last, count = since(obj.series.lastObservedTime, now), obj.series.count or 0
    kind = (about.kind if about else "").lower()
    name = about.name if about else ""
    return [
        last, obj.type, obj.reason, f"{kind}/{name}" if name else kind, about.fieldPath if about else "",
        ", ".join(s for s in source if s), message.strip(), first, count or 1, obj.metadata.name,
    ]  # fmt: skip


def _namespace(obj: Namespace, now: float) -> list[Any]:
    return [obj.metadata.name, obj.status.phase, age(obj, now)]


def _secret(obj: Secret, now: float) -> list[Any]:
    return [obj.metadata.name, obj.type, len(obj.data), age(obj, now)]


def _config_map(obj: ConfigMap, now: float) -> list[Any]:
    return [obj.metadata.name, len(obj.data) + len(obj.binaryData), age(obj, now)]


def _service_account(obj: ServiceAccount, now: float) -> list[Any]:
    return [obj.metadata.name, len(obj.secrets), age(obj, now)]


def _component_status(obj: ComponentStatus, now: float) -> list[Any]:
    healthy = next((c for c in obj.conditions if c.type == "Healthy"), None)
    if healthy is None:
        return [obj.metadata.name, "Unknown", "", ""]
    state = {"True": "Healthy", "False": "Unhealthy"}.get(healthy.status or "", "Unknown")
    return [obj.metadata.name, state, healthy.message, healthy.error]


def _lease(obj: Lease, now: float) -> list[Any]:
    return [obj.metadata.name, obj.spec.holderIdentity or "", age(obj, now)]


def _quota(obj: ResourceQuota, now: float) -> list[Any]:
    requests: list[str] = []
    limits: list[str] = []
    for name, hard in sorted(obj.status.hard.items()):
        used = quantities.canonical(obj.status.used.get(name, "0"))
        column = limits if name.startswith("limits") else requests
        column.append(f"{name}: {used}/{quantities.canonical(hard)}")
    return [obj.metadata.name, ", ".join(requests), ", ".join(limits), age(obj, now)]


def _created_at(obj: Any, now: float) -> list[Any]:
    return [obj.metadata.name, obj.metadata.creationTimestamp]


def _role_binding(obj: Any, now: float) -> list[Any]:
    subjects = obj.subjects

    def of(kind: str) -> str:
        return ", ".join(s.name for s in subjects if s.kind == kind)

    accounts = ", ".join(f"{s.namespace}/{s.name}" for s in subjects if s.kind == "ServiceAccount")
    role = f"{obj.roleRef.kind}/{obj.roleRef.name}"
    return [obj.metadata.name, role, age(obj, now), of("User"), of("Group"), accounts]


def _priority_class(obj: PriorityClass, now: float) -> list[Any]:
    return [obj.metadata.name, obj.value, bool(obj.globalDefault), age(obj, now), obj.preemptionPolicy]


def _runtime_class(obj: RuntimeClass, now: float) -> list[Any]:
    return [obj.metadata.name, obj.handler, age(obj, now)]


def _signing_request(obj: CertificateSigningRequest, now: float) -> list[Any]:
    types = {c.type for c in obj.status.conditions}
    state = "Denied" if "Denied" in types else "Approved" if "Approved" in types else "Pending"
    state += ",Failed" if "Failed" in types else ""
    state += ",Issued" if obj.status.certificate else ""
    seconds = obj.spec.expirationSeconds
    return [
        obj.metadata.name, age(obj, now), obj.spec.signerName or "<none>", obj.spec.username,
        duration(seconds) if seconds else "<none>", state,
    ]  # fmt: skip


_EVENT = columns("Last_Seen Type Reason Object Subobject* Source* Message First_Seen* Count* Name*")
_BINDING = columns("Name Role Age Users* Groups* ServiceAccounts*")
_CREATED = columns("Name Created_At")
_RBAC = "rbac.authorization.k8s.io/v1"

PRINTERS = {
    ("v1", "Node"): Printer(
        "Node",
        columns("Name Status Roles Age Version Internal-IP* External-IP* OS-Image* Kernel-Version* Container-Runtime*"),
        _node,
    ),
    ("v1", "Event"): Printer("Event", _EVENT, _event),
    ("events.k8s.io/v1", "Event"): Printer("EventsV1Event", _EVENT, _new_event),
    ("v1", "Namespace"): Printer("Namespace", columns("Name Status Age"), _namespace),
    ("v1", "Secret"): Printer("Secret", columns("Name Type Data Age"), _secret),
    ("v1", "ConfigMap"): Printer("ConfigMap", columns("Name Data Age"), _config_map),
    ("v1", "ServiceAccount"): Printer("ServiceAccount", columns("Name Secrets Age"), _service_account),
    ("v1", "ComponentStatus"): Printer("ComponentStatus", columns("Name Status Message Error"), _component_status),
    ("v1", "LimitRange"): Printer("LimitRange", _CREATED, _created_at),
    ("v1", "ResourceQuota"): Printer("ResourceQuota", columns("Name Request Limit Age"), _quota),
    ("coordination.k8s.io/v1", "Lease"): Printer("Lease", columns("Name Holder Age"), _lease),
    (_RBAC, "Role"): Printer("Role", _CREATED, _created_at),
    (_RBAC, "ClusterRole"): Printer("ClusterRole", _CREATED, _created_at),
    (_RBAC, "RoleBinding"): Printer("RoleBinding", _BINDING, _role_binding),
    (_RBAC, "ClusterRoleBinding"): Printer("ClusterRoleBinding", _BINDING, _role_binding),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"): Printer("CustomResourceDefinition", _CREATED, _created_at),
    ("scheduling.k8s.io/v1", "PriorityClass"): Printer(
        "PriorityClass",
        columns("Name Value:integer Global-Default:boolean Age PreemptionPolicy"),
        _priority_class,
    ),
    ("node.k8s.io/v1", "RuntimeClass"): Printer("RuntimeClass", columns("Name Handler Age"), _runtime_class),
    ("certificates.k8s.io/v1", "CertificateSigningRequest"): Printer(
        "CertificateSigningRequest",
        columns("Name Age SignerName Requestor RequestedDuration Condition"),
        _signing_request,
    ),
}
