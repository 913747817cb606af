"""Tables of what extends or meters the API server, and of claims on devices."""

from typing import Any

from api import meta
from api.types import APIService, FlowSchema, PriorityLevelConfiguration, ResourceSlice, ResourceV1ResourceClaim
from apiserver.rest.tables.columns import Printer, age, columns


def _webhooks(obj: Any, now: float) -> list[Any]:
    return [obj.metadata.name, len(obj.webhooks), age(obj, now)]


def _validating_policy(obj: Any, now: float) -> list[Any]:
    return [obj.metadata.name, len(obj.spec.validations), _param_kind(obj), age(obj, now)]


def _mutating_policy(obj: Any, now: float) -> list[Any]:
    return [obj.metadata.name, len(obj.spec.mutations), _param_kind(obj), age(obj, now)]


def _param_kind(obj: Any) -> str:
    kind = obj.spec.paramKind
    return f"{kind.apiVersion}/{kind.kind}" if kind is not None else "<unset>"


def _policy_binding(obj: Any, now: float) -> list[Any]:
    ref = obj.spec.paramRef
    shown = "<unset>"
    if ref is not None:
        shown = (f"{ref.namespace}/" if ref.namespace else "*/") + (ref.name or "*")
    return [obj.metadata.name, obj.spec.policyName, shown, age(obj, now)]


def _api_service(obj: APIService, now: float) -> list[Any]:
    service = obj.spec.service
    available = meta.condition(obj, "Available")
    state = "Unknown" if available is None else available.status
    if available is not None and available.status != "True":
        state = f"{available.status} ({available.reason})"
    return [obj.metadata.name, f"{service.namespace}/{service.name}" if service else "Local", state, age(obj, now)]


def _flow_schema(obj: FlowSchema, now: float) -> list[Any]:
    level, method = obj.spec.priorityLevelConfiguration, obj.spec.distinguisherMethod
    dangling = meta.condition(obj, "Dangling")
    return [
        obj.metadata.name, level.name if level else "<none>", obj.spec.matchingPrecedence,
        method.type if method else "<none>", age(obj, now), dangling.status if dangling else "?",
    ]  # fmt: skip


def _priority_level(obj: PriorityLevelConfiguration, now: float) -> list[Any]:
    limited = obj.spec.limited
    response = limited.limitResponse if limited else None
    queuing = response.queuing if response else None

    def shown(value: int | None) -> Any:
        return "<none>" if value is None else value

    return [
        obj.metadata.name, obj.spec.type, shown(limited.nominalConcurrencyShares if limited else None),
        shown(queuing.queues if queuing else None), shown(queuing.handSize if queuing else None),
        shown(queuing.queueLengthLimit if queuing else None), age(obj, now),
    ]  # fmt: skip


def _resource_claim(obj: ResourceV1ResourceClaim, now: float) -> list[Any]:
    states = ["deleted"] if obj.metadata.deletionTimestamp else []
    if obj.status.allocation is not None:
        states.append("allocated")
    elif not states:
        states.append("pending")
    if obj.status.reservedFor:
        states.append("reserved")
    return [obj.metadata.name, ",".join(states), age(obj, now)]


def _resource_slice(obj: ResourceSlice, now: float) -> list[Any]:
    spec = obj.spec
    return [
        obj.metadata.name, spec.nodeName or "", spec.driver, spec.pool.name if spec.pool else "", age(obj, now)
    ]  # fmt: skip


_ADMISSION = "admissionregistration.k8s.io/v1"
_FLOW = "flowcontrol.apiserver.k8s.io/v1"
_WEBHOOKS = columns("Name Webhooks:integer Age")
_BINDING = columns("Name PolicyName ParamRef Age")

PRINTERS = {
    (_ADMISSION, "MutatingWebhookConfiguration"): Printer("MutatingWebhookConfiguration", _WEBHOOKS, _webhooks),
    (_ADMISSION, "ValidatingWebhookConfiguration"): Printer("ValidatingWebhookConfiguration", _WEBHOOKS, _webhooks),
    (_ADMISSION, "ValidatingAdmissionPolicy"): Printer(
        "ValidatingAdmissionPolicy", columns("Name Validations:integer ParamKind Age"), _validating_policy
    ),
    (_ADMISSION, "MutatingAdmissionPolicy"): Printer(
        "MutatingAdmissionPolicy", columns("Name Mutations:integer ParamKind Age"), _mutating_policy
    ),
    (_ADMISSION, "ValidatingAdmissionPolicyBinding"): Printer(
        "ValidatingAdmissionPolicyBinding", _BINDING, _policy_binding
    ),
    (_ADMISSION, "MutatingAdmissionPolicyBinding"): Printer(
        "MutatingAdmissionPolicyBinding", _BINDING, _policy_binding
    ),
    ("apiregistration.k8s.io/v1", "APIService"): Printer(
        "APIService", columns("Name Service Available Age"), _api_service
    ),
    (_FLOW, "FlowSchema"): Printer(
        "FlowSchema",
        columns("Name PriorityLevel MatchingPrecedence DistinguisherMethod Age MissingPL"),
        _flow_schema,
    ),
    (_FLOW, "PriorityLevelConfiguration"): Printer(
        "PriorityLevelConfiguration",
        columns("Name Type NominalConcurrencyShares Queues HandSize QueueLengthLimit Age"),
        _priority_level,
    ),
    ("resource.k8s.io/v1", "ResourceClaim"): Printer(
        "ResourceV1ResourceClaim", columns("Name State Age"), _resource_claim
    ),
    ("resource.k8s.io/v1", "ResourceSlice"): Printer(
        "ResourceSlice", columns("Name Node Driver Pool Age"), _resource_slice
    ),
}
