"""Who am I, what may I, and who may act as whom."""

from typing import Any

import msgspec
import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from api import kinds
from api.errors import BadRequest, Forbidden, Invalid
from api.types import (
    FieldSelectorAttributes,
    FieldSelectorRequirement,
    NonResourceAttributes,
    ResourceAttributes,
    SelfSubjectAccessReview,
    SelfSubjectAccessReviewSpec,
    SelfSubjectReview,
    SubjectAccessReview,
    SubjectAccessReviewSpec,
)
from apiserver.authorization import Groups
from apiserver.impersonation import effective
from apiserver.registry import reviews
from apiserver.requests import Request, User

ADMIN = User("admin", groups=("system:masters", "system:authenticated"))
BOB = User("bob", groups=("system:authenticated",))
PODS = ResourceAttributes(verb="get", resource="pods", namespace="default")


def ask(user: User, review: Any) -> Any:
    request = Request(user, "create", kinds.of(type(review)))
    return msgspec.json.decode(reviews.answer(request, review, Groups()))["status"]


@pytest.mark.parametrize(("user", "allowed"), [(ADMIN, True), (BOB, False)])
def test_one_is_told_what_one_may(user, allowed):
    review = SelfSubjectAccessReview(spec=SelfSubjectAccessReviewSpec(resourceAttributes=PODS))
    assert ask(user, review) == {"allowed": allowed}


def test_an_administrator_can_ask_about_others():
    spec = SubjectAccessReviewSpec(user="bob", resourceAttributes=PODS)
    assert ask(ADMIN, SubjectAccessReview(spec=spec)) == {"allowed": False}
    with pytest.raises(Invalid, match="at least one of user or group must be specified"):
        ask(ADMIN, SubjectAccessReview(spec=SubjectAccessReviewSpec(resourceAttributes=PODS)))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"resourceAttributes": None}, "exactly one of nonResourceAttributes or resourceAttributes must be specified"),
        ({"nonResourceAttributes": NonResourceAttributes()}, "cannot be specified in combination with resourceAttributes"),
        ({"resourceAttributes": ResourceAttributes(fieldSelector=FieldSelectorAttributes())},
         "fieldSelector.requirements: Required value: when fieldSelector is specified, requirements or rawSelector is"),
    ],
)  # fmt: skip
def test_a_question_must_be_one(spec, message):
    with pytest.raises(Invalid, match=message):
        ask(ADMIN, SelfSubjectAccessReview(spec=SelfSubjectAccessReviewSpec(**({"resourceAttributes": PODS} | spec))))


def test_what_is_asked_may_be_a_selection():
    asked = []

    class Curious(Groups):
        def decide(self, request):
            asked.append(request.field_selector)
            return super().decide(request)

    for selector in (
        FieldSelectorAttributes(rawSelector="spec.nodeName=n1"),
        FieldSelectorAttributes(
            requirements=[FieldSelectorRequirement(key="spec.nodeName", operator="In", values=["n1"])]
        ),
    ):
        attributes = ResourceAttributes(verb="list", resource="pods", fieldSelector=selector)
        review = SelfSubjectAccessReview(spec=SelfSubjectAccessReviewSpec(resourceAttributes=attributes))
        reviews.answer(Request(BOB, "create", kinds.of(SelfSubjectAccessReview)), review, Curious())
    assert asked == ["spec.nodeName=n1"] * 2


def test_one_is_told_who_one_is():
    assert ask(BOB, SelfSubjectReview())["userInfo"] == {"username": "bob", "groups": ["system:authenticated"]}


def headers(**named: str) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict({key.replace("_", "-"): value for key, value in named.items()}))


def test_who_may_impersonate_counts_as_the_other():
    user = effective(ADMIN, headers(Impersonate_User="bob", Impersonate_Extra_Scopes="view"), Groups())
    assert user == User("bob", groups=("system:authenticated",), extra={"scopes": ("view",)})
    account = effective(ADMIN, headers(Impersonate_User="system:serviceaccount:a:b"), Groups())
    assert account.groups == ("system:serviceaccounts", "system:serviceaccounts:a", "system:authenticated")
    assert effective(BOB, headers(Accept="*/*"), Groups()) is BOB


def test_who_may_not_impersonate_is_refused():
    message = 'users "admin" is forbidden: User "bob" cannot impersonate resource "users" in API group ""'
    with pytest.raises(Forbidden, match=message):
        effective(BOB, headers(Impersonate_User="admin"), Groups())
    with pytest.raises(BadRequest):
        effective(ADMIN, headers(Impersonate_Group="system:masters"), Groups())
