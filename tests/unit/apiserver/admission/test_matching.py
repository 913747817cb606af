"""Which requests rules and selectors are about."""

from typing import Any

import pytest

from api import kinds, labels
from api.errors import NotFound
from api.types import Namespace, ObjectMeta, Pod, RuleWithOperations
from apiserver.admission.attributes import Attributes, attributes
from apiserver.admission.matching import matching_kind, namespace_matches, object_matches
from apiserver.requests import Request, User
from tests.unit.apiserver.admission.worlds import Memory

PODS, NAMESPACES = kinds.of(Pod), kinds.of(Namespace)
OLD_SCALERS, SCALERS = (kinds.by_resource("autoscaling", v, "horizontalpodautoscalers") for v in ("v1", "v2"))


def rule(
    resources: str = "pods", operations: str = "*", groups: str = "", versions: str = "v1", scope: str = "*"
) -> Any:
    return RuleWithOperations(
        operations=operations.split(","), apiGroups=groups.split(","), apiVersions=versions.split(","),
        resources=resources.split(","), scope=scope,
    )  # fmt: skip


def about(
    kind: Any = PODS, subresource: str = "", verb: str = "create", obj: Any = None, old: Any = None
) -> Attributes:
    namespace = "default" if kind.namespaced else ""
    return attributes(Request(User("u"), verb, kind, namespace, "x", subresource), obj, old)


@pytest.mark.parametrize(
    ("resources", "subresource", "matched"),
    [
        ("pods", "", True), ("pods", "status", False), ("pods/status", "status", True), ("pods/status", "", False),
        ("pods/*", "exec", True), ("pods/*", "", True), ("*", "", True), ("*", "status", False), ("*/*", "status", True),
        ("*/scale", "scale", True), ("services", "", False),
    ],
)  # fmt: skip
def test_resources_and_their_parts(resources: str, subresource: str, matched: bool) -> None:
    assert (matching_kind([rule(resources)], about(subresource=subresource)) is PODS) is matched


@pytest.mark.parametrize(("scope", "kind", "matched"), [
    ("Namespaced", PODS, True), ("Cluster", PODS, False), ("Namespaced", NAMESPACES, False), ("Cluster", NAMESPACES, True),
    ("*", PODS, True), ("", PODS, True),
])  # fmt: skip
def test_a_namespace_is_no_namespaced_thing(scope: str, kind: Any, matched: bool) -> None:
    request = about(kind, verb="delete")
    assert (matching_kind([rule("*", scope=scope)], request) is kind) is matched


@pytest.mark.parametrize(
    ("verb", "old", "operation"),
    [("create", None, "CREATE"), ("patch", None, "CREATE"), ("patch", Pod(), "UPDATE"), ("update", Pod(), "UPDATE"),
     ("delete", Pod(), "DELETE"), ("connect", None, "CONNECT")],
)  # fmt: skip
def test_a_patch_may_be_a_creation(verb: str, old: Any, operation: str) -> None:
    assert about(verb=verb, old=old).operation == operation


def test_another_version_is_matched_only_if_none_names_the_one_asked_for() -> None:
    first = rule("horizontalpodautoscalers", groups="autoscaling", versions="v1")
    second = rule("horizontalpodautoscalers", groups="autoscaling", versions="v2")
    asked = about(SCALERS)
    assert matching_kind([first], asked) is None
    assert matching_kind([first], asked, (OLD_SCALERS, SCALERS)) is OLD_SCALERS
    assert matching_kind([first, second], asked, (OLD_SCALERS, SCALERS)) is SCALERS


def test_labels_now_or_before_will_do() -> None:
    chosen = labels.parse("a=b")
    with_, without = Pod(metadata=ObjectMeta(labels={"a": "b"})), Pod()
    assert object_matches(chosen, about(verb="update", obj=without, old=with_))
    assert object_matches(chosen, about(obj=with_))
    assert not object_matches(chosen, about(obj=without))
    assert object_matches(labels.EVERYTHING, about(verb="connect", obj=object()))


async def test_the_labels_of_the_namespace_count() -> None:
    chosen = labels.parse("a=b")
    reader = Memory(Namespace(metadata=ObjectMeta(name="default", labels={"a": "b"})))
    assert await namespace_matches(chosen, about(), reader)
    assert not await namespace_matches(labels.parse("a=c"), about(), reader)
    with pytest.raises(NotFound):
        await namespace_matches(chosen, about(), Memory())
    new = Namespace(metadata=ObjectMeta(name="new"))
    assert not await namespace_matches(chosen, about(NAMESPACES, obj=new), reader)
    assert await namespace_matches(chosen, about(kinds.by_resource("", "v1", "nodes")), reader)
