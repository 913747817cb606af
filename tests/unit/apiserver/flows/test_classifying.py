"""Which flow a request belongs to."""

from collections.abc import Iterable
from typing import Any

import pytest

from api import kinds
from api.kinds import Kind
from api.types import Lease, Node, Pod
from apiserver.flows import defaults
from apiserver.flows.classifying import LEVELS, Classifier, Flow
from apiserver.requests import Request, User

PODS, NODES, LEASES = kinds.of(Pod), kinds.of(Node), kinds.of(Lease)
EVERYBODY = ("system:authenticated",)


class Defaults:
    """The default objects, each with its name for a UID."""

    def __init__(self) -> None:
        self.levels, self.schemas = list(defaults.priority_levels()), list(defaults.flow_schemas())
        self.asked = 0
        for obj in (*self.levels, *self.schemas):
            obj.metadata.uid = obj.metadata.name

    def version(self, kind: Kind) -> int:
        return len(self.levels) + len(self.schemas)

    def list_cached(self, kind: Kind) -> Iterable[Any]:
        self.asked += 1
        return self.levels if kind is LEVELS else self.schemas


def classified(flow: Flow | None) -> tuple[str, str] | None:
    return (flow.schema, flow.level) if flow is not None else None


def page(path: str, user: User) -> Request:
    return Request(user, "get", PODS, path=path)


NODE = User("system:node:a", groups=("system:nodes", *EVERYBODY))
ACCOUNT = ("system:serviceaccounts", *EVERYBODY)
OWN = User("system:serviceaccount:kube-system:x", groups=ACCOUNT)


@pytest.mark.parametrize(
    ("request_", "schema", "level"),
    [
        (Request(User("admin", groups=("system:masters", *EVERYBODY)), "get", PODS, "a"), "exempt", "exempt"),
        (page("/healthz", User("x", groups=EVERYBODY)), "probes", "exempt"),
        (page("/version", User("x", groups=EVERYBODY)), "global-default", "global-default"),
        (Request(NODE, "patch", NODES, name="a", subresource="status"), "system-node-high", "node-high"),
        (Request(NODE, "update", LEASES, "kube-node-lease", "a"), "system-node-high", "node-high"),
        (Request(NODE, "list", PODS), "system-nodes", "system"),
        (
            Request(User("system:kube-scheduler", groups=EVERYBODY), "update", LEASES, "kube-system"),
            "system-leader-election",
            "leader-election",
        ),
        (Request(User("system:kube-scheduler", groups=EVERYBODY), "list", PODS), "kube-scheduler", "workload-high"),
        (Request(OWN, "list", PODS, "a"), "kube-system-service-accounts", "workload-high"),
        (
            Request(User("system:serviceaccount:a:x", groups=ACCOUNT), "list", PODS, "a"),
            "service-accounts",
            "workload-low",
        ),
        (Request(User("nobody"), "list", PODS, "a"), "catch-all", "catch-all"),
    ],
)
def test_the_schema_of_the_lowest_precedence_that_matches_counts(request_: Request, schema: str, level: str) -> None:
    assert classified(Classifier(Defaults()).of(request_)) == (schema, level)


def test_a_schema_without_its_level_does_not_count() -> None:
    source = Defaults()
    source.levels = [level for level in source.levels if level.metadata.name != "global-default"]
    assert classified(Classifier(source).of(page("/version", User("x", groups=EVERYBODY)))) == (
        "catch-all",
        "catch-all",
    )


def test_the_same_question_is_answered_from_memory() -> None:
    source = Defaults()
    classifier = Classifier(source)
    first = classifier.of(Request(NODE, "list", PODS))
    asked = source.asked
    assert classifier.of(Request(NODE, "list", PODS)) is first
    assert source.asked == asked


def test_flows_of_a_schema_are_told_apart_by_user_or_namespace() -> None:
    classifier = Classifier(Defaults())
    asked = [
        Request(User(name, groups=ACCOUNT), "list", PODS, namespace) for name, namespace in (("a", "x"), ("b", "x"))
    ]
    first, second = (classifier.of(each) for each in asked)
    assert first is not None
    assert second is not None
    assert (first.schema, first.key) == ("service-accounts", "service-accounts/a")
    assert second.key == "service-accounts/b"
    by_namespace = classifier.of(Request(User("system:kube-scheduler", groups=EVERYBODY), "list", PODS, "x"))
    assert by_namespace is not None
    assert by_namespace.key == "kube-scheduler/x"
