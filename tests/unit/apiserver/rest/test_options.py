import pytest

from api.errors import ApiError, BadRequest, Invalid
from api.kinds import by_resource
from apiserver.requests import DeleteOptions, Request
from apiserver.rest import options
from tests.unit.apiserver.rest.conftest import ADMIN

POD = by_resource("", "v1", "pods")


def test_the_first_value_of_a_parameter_counts():
    assert options.parse("a=1&a=2&b=%2Fx+y") == {"a": "1", "b": "/x y"}


@pytest.mark.parametrize(
    ("text", "truth"), [("", False), ("x", True), ("x=true", True), ("x=0", False), ("x=False", False)]
)
def test_a_parameter_that_is_there_is_true_unless_it_says_no(text, truth):
    assert options.truth(options.parse(text), "x") is truth


@pytest.mark.parametrize(
    ("text", "agent", "pretty"),
    [
        ("", "kubectl/v1.37.1 (linux/amd64)", False), ("", "curl/8.14.1", True), ("", "Wget/1.25", True),
        ("", "Mozilla/5.0 (X11)", True), ("pretty", "curl/8.14.1", True), ("pretty=false", "curl/8.14.1", False),
        ("pretty=true", "", True), ("pretty=1", "", True), ("pretty=yes", "", False),
    ],
)  # fmt: skip
def test_an_answer_is_indented_for_who_asks_and_for_people(text, agent, pretty):
    assert options.is_pretty(options.parse(text), agent) is pretty


def test_a_list_takes_its_options_from_the_query():
    found = options.for_list(options.parse("labelSelector=a%3Db&limit=5&continue=t&resourceVersion="))
    assert (found.label_selector, found.limit, found.continue_) == ("a=b", 5, "t")


def test_a_limit_holds_for_nothing_where_whatever_is_at_hand_will_do():
    assert [options.page(options.parse(q)) for q in ("", "limit=5", "limit=5&resourceVersion=0")] == [0, 5, 0]
    assert options.page(options.parse("limit=5&resourceVersion=0&continue=t")) == 5


DIGITS = "1" * 5000
"""More than Python makes an integer of."""


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limit=abc", 'strconv.ParseInt: parsing "abc": invalid syntax'),
        ("limit=99999999999999999999", 'strconv.ParseInt: parsing "99999999999999999999": value out of range'),
        (f"limit={DIGITS}", f'strconv.ParseInt: parsing "{DIGITS}": value out of range'),
    ],
)
def test_a_number_must_be_one(query, message):
    with pytest.raises(BadRequest) as e:
        options.for_list(options.parse(query))
    assert e.value.message == message


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("resourceVersionMatch=Exact", "resourceVersionMatch is forbidden unless resourceVersion is provided"),
        (
            "resourceVersionMatch=Exact&resourceVersion=0",
            'resourceVersionMatch "exact" is forbidden for resourceVersion "0"',
        ),
        ("sendInitialEvents=true", "sendInitialEvents is forbidden for list"),
    ],
)
def test_options_of_a_list_that_exclude_each_other_are_refused(query, message):
    with pytest.raises(Invalid, match=message) as e:
        options.for_list(options.parse(query))
    assert e.value.message.startswith('ListOptions.meta.k8s.io "" is invalid: ')


def test_initial_events_need_their_match():
    with pytest.raises(Invalid, match="sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"):
        options.for_watch(options.parse("sendInitialEvents=true"))
    found = options.for_watch(
        options.parse("sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=9")
    )
    assert (found.send_initial_events, found.timeout_seconds) == (True, 9.0)
    assert options.for_watch({}).send_initial_events is None


def written(query, verb="create", patch_type="", agent="kubectl/v1 x"):
    request = Request(ADMIN, verb, POD, "default", "a")
    options.for_write(options.parse(query), request, agent, patch_type)
    return request


def test_a_write_without_options_warns_and_is_recorded_under_the_user_agent():
    request = written("")
    assert (request.dry_run, request.field_manager, request.field_validation) == (False, "kubectl", "Warn")


@pytest.mark.parametrize(
    ("query", "patch_type", "message"),
    [
        (
            "dryRun=Some",
            "",
            'CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["Some"]: supported values: "All"',
        ),
        ("fieldManager=" + "x" * 129, "", "fieldManager: Too long: may not be more than 128 bytes"),
        ("fieldManager=%00", "", "should only contain printable characters"),
        ("fieldValidation=No", "", "fieldValidation: Unsupported value"),
        ("force=true", "merge", "force: Forbidden: may not be specified for non-apply patch"),
        ("", "apply", "fieldManager: Required value: is required for apply patch"),
    ],
)
def test_bad_options_of_a_write_are_refused(query, patch_type, message):
    with pytest.raises(Invalid) as e:
        written(query, "patch" if patch_type else "create", patch_type)
    assert message in e.value.message


def test_dry_runs_and_force_are_understood():
    assert written("dryRun=All&dryRun=All").dry_run
    assert written("fieldManager=me&force=true", "patch", "apply").force


def test_a_delete_is_told_how_by_its_body_or_else_by_its_query():
    assert options.for_delete(options.parse("gracePeriodSeconds=0&propagationPolicy=Orphan"), b"") == DeleteOptions(
        grace_seconds=0, propagation="Orphan"
    )
    body = b'{"kind":"DeleteOptions","apiVersion":"v1","propagationPolicy":"Foreground","dryRun":["All"]}'
    assert options.for_delete({}, body) == DeleteOptions(propagation="Foreground", dry_run=True)
    assert options.for_delete(options.parse("orphanDependents=true"), b"").propagation == "Orphan"
    with pytest.raises(ApiError, match="propagationPolicy"):
        options.for_delete(options.parse("propagationPolicy=Later"), b"")


@pytest.mark.parametrize("text", [f"{DIGITS}s", "9999999999h", "1", "١s"])
def test_a_timeout_is_a_duration_as_go_has_them(text):
    with pytest.raises(BadRequest, match="invalid timeout specified in the request URL - "):
        options.timeout({"timeout": text})
    assert options.timeout({"timeout": f"1.5{DIGITS}s"}) == 1.511111111
    assert options.timeout({"timeout": "1m"}) is None
