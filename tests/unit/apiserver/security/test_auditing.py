"""What the audit policy asks for, and where events go."""

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from api import kinds
from api.types import Deployment, Node, Pod, Secret
from apiserver.auditing import CURRENT, Audited, Auditor, Limits, Log, annotate
from apiserver.auditing.policies import Document, Level, Policy, load
from apiserver.authorization import Groups
from apiserver.requests import Request, User
from machinery.testing import FakeClock, settle

JANE = User("jane", groups=("dev", "system:authenticated"))
HEAD = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy"}


def policy(*rules: dict[str, Any], **more: Any) -> Policy:
    return Policy(msgspec.convert({**HEAD, "rules": list(rules), **more}, Document))


def about(what: Any = Pod, verb: str = "get", **more: Any) -> Request:
    kind = kinds.of(what)
    return Request(JANE, verb, kind, **({"namespace": "ns" if kind.namespaced else "", "name": "x"} | more))


@pytest.mark.parametrize(
    ("rule", "request_", "fits"),
    [
        ({}, about(), True),
        ({"users": ["joe"]}, about(), False),
        ({"userGroups": ["ops", "dev"]}, about(), True),
        ({"verbs": ["list"]}, about(), False),
        ({"namespaces": ["ns"]}, about(), True),
        ({"namespaces": [""]}, about(Node), True),
        ({"namespaces": ["ns"]}, about(path="/api"), False),
        ({"resources": [{"group": "apps"}]}, about(Deployment), True),
        ({"resources": [{"group": ""}]}, about(Deployment), False),
        ({"resources": [{"group": "", "resources": ["pods"]}]}, about(subresource="log"), False),
        ({"resources": [{"group": "", "resources": ["pods/log"]}]}, about(subresource="log"), True),
        ({"resources": [{"group": "", "resources": ["pods/*"]}]}, about(subresource="log"), True),
        ({"resources": [{"group": "", "resources": ["*/log"]}]}, about(subresource="log"), True),
        ({"resources": [{"group": "", "resources": ["*"], "resourceNames": ["y"]}]}, about(), False),
        ({"nonResourceURLs": ["/api*"]}, about(path="/apis"), True),
        ({"nonResourceURLs": ["/api"]}, about(path="/apis"), False),
        ({"nonResourceURLs": ["*"]}, about(), False),
    ],
)
def test_a_rule_fits_what_it_names(rule: dict[str, Any], request_: Request, fits: bool) -> None:
    assert (policy({"level": "Request", **rule}).judge(JANE, request_).level == Level.REQUEST) is fits


def test_a_rule_adds_to_what_the_policy_leaves_out() -> None:
    rules = ({"level": "Metadata", "omitStages": ["Panic"], "omitManagedFields": False},)
    verdict = policy(*rules, omitStages=["RequestReceived"], omitManagedFields=True).judge(JANE, about())
    assert (verdict.omitted, verdict.omit_managed_fields) == ({"RequestReceived", "Panic"}, False)


def test_secrets_are_shown_to_those_who_name_them() -> None:
    assert policy({"level": "RequestResponse"}).judge(JANE, about(Secret)).level == Level.METADATA
    named = {"level": "RequestResponse", "resources": [{"group": "", "resources": ["secrets"]}]}
    assert policy(named).judge(JANE, about(Secret)).level == Level.RESPONSE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules: []", "illegal policy with 0 rules"),
        ("rules: [{level: Everything}]", "level 'Everything' is none of"),
        ("rules: [{level: None, nonResourceURLs: [/a], namespaces: [b]}]", "cannot apply to both"),
        ("rules: [{level: None, nonResourceURLs: ['/a*b']}]", "is no path"),
        ("rules: [{level: None, omitStages: [Never]}]", "there is no stage 'Never'"),
        ("rules: [{level: None, resources: [{resourceNames: [a]}]}]", "requires at least one resource"),
        ("rules: [{level: None, unknown: 1}]", "unknown"),
    ],
)
def test_what_a_policy_may_not_say(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(f"apiVersion: audit.k8s.io/v1\nkind: Policy\n{text}\n")
    with pytest.raises(ValueError, match=message):
        load(file)


def test_a_request_becomes_an_event_for_each_stage() -> None:
    told: list[bytes] = []
    clock = FakeClock()
    auditor = Auditor(policy({"level": "Metadata"}), told.append, clock)
    annotate("nobody", "is asked")  # outside of any request
    with auditor.request(audit_id="a", uri="/u", verb="get", agent="me", sources=["192.0.2.1"]) as entry:
        root = User("root", groups=("system:masters",))
        Audited(Groups()).authorize(Request(root, "watch", kinds.of(Pod), "ns"))
        annotate("own", "note")
        entry.started()
        entry.panicked("why")
        entry.done(200)
    assert CURRENT.get() is None
    events = [json.loads(event) for event in told]
    assert [e["stage"] for e in events] == ["RequestReceived", "ResponseStarted", "Panic", "ResponseComplete"]
    assert events[-1]["annotations"] == {
        "authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": "", "own": "note",
    }  # fmt: skip
    assert events[-1]["objectRef"] == {"resource": "pods", "namespace": "ns", "apiVersion": "v1"}
    assert events[-1]["requestReceivedTimestamp"] == "2023-11-14T22:13:20.000000Z"


async def test_a_log_is_written_and_begun_anew_when_it_is_full(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "logs" / "audit.log"), Limits(megabytes=1, backups=2))
    running = asyncio.create_task(log.run())
    for _ in range(4):
        log.tell(b"x" * (1 << 20))
        while not log.idle:
            await settle()
            await asyncio.to_thread(lambda: None)
    log.tell(b"last")
    await settle()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    files = sorted(path.name for path in (tmp_path / "logs").iterdir())
    assert len(files) == 3
    assert (tmp_path / "logs" / "audit.log").read_bytes() == b"last\n"
    assert (tmp_path / "logs" / "audit.log").stat().st_mode & 0o777 == 0o600
