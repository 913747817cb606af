"""API priority and fairness as clients see it, after upstream's conformance tests."""

import asyncio
import uuid
from typing import Any

import aiohttp
import pytest

from machinery.testing import ControlPlane
from tests.integration.api.conftest import Send

pytestmark = pytest.mark.asyncio(loop_scope="session")
GROUP = "/apis/flowcontrol.apiserver.k8s.io/v1"
MERGE = "application/merge-patch+json"
LIMITED = {"type": "Limited", "limited": {"nominalConcurrencyShares": 1, "limitResponse": {"type": "Reject"}}}


def schema(name: str, level: str, user: str) -> dict[str, Any]:
    rule = {
        "subjects": [{"kind": "User", "user": {"name": user}}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    }
    spec = {"priorityLevelConfiguration": {"name": level}, "matchingPrecedence": 1000, "rules": [rule]}
    return {"metadata": {"name": name}, "spec": spec | {"distinguisherMethod": {"type": "ByUser"}}}


async def until_known(send: Send, name: str, status: str) -> dict[str, Any]:
    async with asyncio.timeout(10):
        while True:
            body = (await send("GET", f"{GROUP}/flowschemas/{name}")).body
            for condition in body.get("status", {}).get("conditions", []):
                if condition["status"] == status:
                    return dict(condition)
            await asyncio.sleep(0.02)


async def test_every_cluster_has_the_mandatory_and_the_suggested_ones(send: Send) -> None:
    levels = {
        i["metadata"]["name"]: i for i in (await send("GET", f"{GROUP}/prioritylevelconfigurations")).body["items"]
    }
    assert set(levels) >= {
        "exempt", "catch-all", "system", "node-high", "leader-election", "workload-high", "workload-low",
        "global-default",
    }  # fmt: skip
    assert levels["exempt"]["spec"] == {
        "type": "Exempt",
        "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0},
    }
    schemas = {i["metadata"]["name"]: i for i in (await send("GET", f"{GROUP}/flowschemas")).body["items"]}
    assert {"exempt", "catch-all", "probes", "system-nodes", "global-default", "service-accounts"} <= set(schemas)
    assert schemas["catch-all"]["spec"]["matchingPrecedence"] == 10000
    condition = await until_known(send, "catch-all", "False")
    assert (condition["type"], condition["reason"]) == ("Dangling", "Found")


async def test_requests_are_classified_by_new_schemas_and_levels(send: Send, plane: ControlPlane) -> None:
    name = f"e2e-{uuid.uuid4().hex[:8]}"
    level = await send("POST", f"{GROUP}/prioritylevelconfigurations", {"metadata": {"name": name}, "spec": LIMITED})
    assert level.code == 201
    assert level.body["spec"]["limited"]["lendablePercent"] == 0
    flow = await send("POST", f"{GROUP}/flowschemas", schema(name, name, "noxu"))
    assert flow.code == 201
    await until_known(send, name, "False")
    assert (
        f'apiserver_flowcontrol_nominal_limit_seats{{priority_level="{name}"}}' in (await send("GET", "/metrics")).body
    )
    for user, matches in (("noxu", True), ("foo", False)):
        seen = await headers(plane, "/version", user)
        uids = seen["X-Kubernetes-PF-FlowSchema-UID"], seen["X-Kubernetes-PF-PriorityLevel-UID"]
        assert (uids == (flow.body["metadata"]["uid"], level.body["metadata"]["uid"])) is matches
        assert all(uids)
    assert (await send("DELETE", f"{GROUP}/prioritylevelconfigurations/{name}")).code == 200
    assert (await until_known(send, name, "True"))["reason"] == "NotFound"
    assert (await send("DELETE", f"{GROUP}/flowschemas/{name}")).code == 200


async def headers(plane: ControlPlane, path: str, user: str) -> Any:
    import ssl

    own = plane.pki / "admin"
    tls = ssl.create_default_context(cafile=str(own / "ca.crt"))
    tls.load_cert_chain(own / "tls.crt", own / "tls.key")
    as_ = {"Impersonate-User": user, "Impersonate-Group": "system:authenticated"}
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session,
        session.get(plane.rest + path, headers=as_) as response,
    ):
        return response.headers


@pytest.mark.parametrize(
    ("plural", "spec", "message"),
    [
        ("flowschemas", {"matchingPrecedence": 1}, "only the schema named 'exempt' may have matchingPrecedence 1"),
        ("flowschemas", {"matchingPrecedence": 10001}, "must be within (0, 10000]"),
        ("flowschemas", {"priorityLevelConfiguration": {"name": ""}}, "must reference a priority level"),
        ("prioritylevelconfigurations", {"type": "Limited"}, "spec.limited: Required value"),
        ("prioritylevelconfigurations", {"type": "Other"}, 'supported values: "Exempt", "Limited"'),
    ],
)
async def test_what_makes_no_sense_is_refused(send: Send, plural: str, spec: dict[str, Any], message: str) -> None:
    whole = {"priorityLevelConfiguration": {"name": "system"}} if plural == "flowschemas" else {}
    answer = await send("POST", f"{GROUP}/{plural}", {"metadata": {"name": "bad"}, "spec": whole | spec})
    assert (answer.code, message in answer.body["message"]) == (422, True), answer.body


async def test_statuses_can_be_written(send: Send) -> None:
    name = f"e2e-{uuid.uuid4().hex[:8]}"
    await send("POST", f"{GROUP}/flowschemas", schema(name, "global-default", "nobody"))
    await until_known(send, name, "False")
    condition = {"type": "TestPatch", "status": "False", "reason": "e2e", "message": "set"}
    patched = await send("PATCH", f"{GROUP}/flowschemas/{name}/status", {"status": {"conditions": [condition]}}, MERGE)
    assert [c["type"] for c in patched.body["status"]["conditions"]] == ["TestPatch"]
    assert (await send("DELETE", f"{GROUP}/flowschemas/{name}")).code == 200
