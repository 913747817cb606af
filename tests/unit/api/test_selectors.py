import pytest

from api import fields, labels
from api.errors import BadRequest
from api.types import LabelSelector, LabelSelectorRequirement

LABELS = {"app": "x", "tier": "web", "n": "5"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True), ("app=x", True), ("app==x", True), ("app=y", False), ("app!=y", True), ("app!=x", False), ("other!=x", True),
        ("app in (x,y)", True), ("app in (y)", False), ("app notin (y)", True), ("other notin (y)", True), ("app", True), ("other", False),
        ("!other", True), ("!app", False), ("n>4", True), ("n<5", False), ("app>4", False), ("app=x,tier=web", True), ("app=x,tier=db", False),
        (" app = x , !other ", True), ("empty=", False), ("app in (x,)", True),
    ],
)  # fmt: skip
def test_label_selectors(text, matches):
    selector = labels.parse(text)
    assert selector.matches(LABELS) is matches
    assert labels.parse(str(selector)).matches(LABELS) is matches


def test_a_set_that_does_not_end_is_told_in_upstreams_words():
    with pytest.raises(BadRequest, match=r"found '', expected: ',' or '\)'"):
        labels.parse("a in (b")


@pytest.mark.parametrize(
    "text", ["app x", "app=x tier=y", "a in x", "a in (x", "=x", "a b=c", "a=b c", "a>x", "(a)", "app=x,,", "a/b/c=d"]
)
def test_what_is_no_label_selector(text):
    with pytest.raises(BadRequest):
        labels.parse(text)


def test_a_selector_object():
    def requirement(operator, *values):
        return LabelSelectorRequirement(key="app", operator=operator, values=list(values))

    good = [requirement("In", "x"), requirement("NotIn", "y"), requirement("Exists")]
    assert labels.from_object(LabelSelector(matchLabels={"tier": "web"}, matchExpressions=good)).matches(LABELS)
    assert not labels.from_object(LabelSelector(matchExpressions=[requirement("DoesNotExist")])).matches(LABELS)
    assert labels.from_object(LabelSelector()).matches({})
    assert not labels.from_object(None).matches(LABELS)
    assert labels.from_map({"app": "x"}).matches(LABELS)


def test_field_selectors():
    selector = fields.parse(r"metadata.name=a,status.phase!=Running,x=b\,c")
    assert selector.matches({"metadata.name": "a", "x": "b,c"})
    assert not selector.matches({"metadata.name": "a", "x": "b,c", "status.phase": "Running"})
    assert (selector.exact("metadata.name"), selector.exact("status.phase"), bool(fields.parse(""))) == (
        "a",
        None,
        False,
    )
    with pytest.raises(BadRequest, match="can't understand 'x'"):
        fields.parse("x")
