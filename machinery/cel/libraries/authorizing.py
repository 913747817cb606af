"""What the asker may do: `authorizer.group('apps').resource('deployments').check('create').allowed()`.

The values know nothing of who decides: whoever makes an `Authorizer` gives it a function that does.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from api import names
from machinery.cel.faults import EvaluationFault
from machinery.cel.libraries.declaring import Declared, function, member
from machinery.cel.types import BOOL, STRING, Type


@dataclass(frozen=True, slots=True)
class Question:
    """Either `path`, or a resource."""

    account: tuple[str, str] | None = None
    """The service account (namespace, name) to ask about, instead of whoever sends the request."""
    path: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    field_selector: str = ""
    label_selector: str = ""
    verb: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    cel_type = "kubernetes.authorization.Decision"
    allowed: bool
    reason: str = ""
    error: str = ""


Ask = Callable[[Question], Decision]


@dataclass(frozen=True, slots=True)
class Authorizer:
    cel_type = "kubernetes.authorization.Authorizer"
    ask: Ask
    question: Question = Question()


class PathCheck(Authorizer):
    cel_type = "kubernetes.authorization.PathCheck"


class GroupCheck(Authorizer):
    cel_type = "kubernetes.authorization.GroupCheck"


class ResourceCheck(Authorizer):
    cel_type = "kubernetes.authorization.ResourceCheck"


AUTHORIZER = Type("opaque", Authorizer.cel_type)
PATH_CHECK = Type("opaque", PathCheck.cel_type)
GROUP_CHECK = Type("opaque", GroupCheck.cel_type)
RESOURCE_CHECK = Type("opaque", ResourceCheck.cel_type)
DECISION = Type("opaque", Decision.cel_type)


def _path(a: Authorizer, path: str) -> PathCheck:
    if not path.strip():
        raise EvaluationFault("path must not be empty")
    return PathCheck(a.ask, replace(a.question, path=path))


def _group(a: Authorizer, group: str) -> GroupCheck:
    return GroupCheck(a.ask, replace(a.question, group=group))


def _account(a: Authorizer, namespace: str, name: str) -> Authorizer:
    if names.dns_subdomain_faults(name):
        raise EvaluationFault("Invalid service account name")
    if names.dns_label_faults(namespace):
        raise EvaluationFault("Invalid service account namespace")
    return Authorizer(a.ask, replace(a.question, account=(namespace, name)))


def _resource(a: GroupCheck, resource: str) -> ResourceCheck:
    if not resource.strip():
        raise EvaluationFault("resource must not be empty")
    return ResourceCheck(a.ask, replace(a.question, resource=resource))


def _with(field: str) -> Callable[[ResourceCheck, str], ResourceCheck]:
    def run(a: ResourceCheck, value: str) -> ResourceCheck:
        changes: dict[str, Any] = {field: value}
        return ResourceCheck(a.ask, replace(a.question, **changes))

    return run


def _check(a: Authorizer, verb: str) -> Decision:
    return a.ask(replace(a.question, verb=verb))


R = RESOURCE_CHECK
OVERLOADS: list[Declared] = [
    member("path", "authorizer_path", (AUTHORIZER, STRING), PATH_CHECK, _path),
    member("group", "authorizer_group", (AUTHORIZER, STRING), GROUP_CHECK, _group),
    member("serviceAccount", "authorizer_serviceaccount", (AUTHORIZER, STRING, STRING), AUTHORIZER, _account),
    member("resource", "groupcheck_resource", (GROUP_CHECK, STRING), R, _resource),
    member("subresource", "resourcecheck_subresource", (R, STRING), R, _with("subresource")),
    member("namespace", "resourcecheck_namespace", (R, STRING), R, _with("namespace")),
    member("name", "resourcecheck_name", (R, STRING), R, _with("name")),
    member("fieldSelector", "authorizer_fieldselector", (R, STRING), R, _with("field_selector")),
    member("labelSelector", "authorizer_labelselector", (R, STRING), R, _with("label_selector")),
    member("check", "pathcheck_check", (PATH_CHECK, STRING), DECISION, _check),
    member("check", "resourcecheck_check", (R, STRING), DECISION, _check),
    member("allowed", "decision_allowed", (DECISION,), BOOL, lambda d: d.allowed),
    member("reason", "decision_reason", (DECISION,), STRING, lambda d: d.reason),
    member("errored", "decision_errored", (DECISION,), BOOL, lambda d: bool(d.error)),
    member("error", "decision_error", (DECISION,), STRING, lambda d: d.error),
]


def _escaped(key: str) -> str:
    """One step of a JSON pointer."""
    return key.replace("~", "~0").replace("/", "~1")


JSON_PATCHES: list[Declared] = [function("jsonpatch.escapeKey", "string_escape_key", (STRING,), STRING, _escaped)]
"""Only where there are patches."""
