"""Claims for devices, classes and slices at a real API server."""

from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from api.resource_claims import FINALIZER

from .conftest import Answer, Send

pytestmark = pytest.mark.asyncio(loop_scope="session")

GROUP = "/apis/resource.k8s.io/v1"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
MERGE = "application/merge-patch+json"
REQUEST = {"name": "one", "exactly": {"deviceClassName": "gpu.example.com"}}
SPEC = {"devices": {"requests": [REQUEST]}}
RESULT = {"request": "one", "driver": "gpu.example.com", "pool": "n1", "device": "gpu-0"}
ALLOCATION = {"devices": {"results": [RESULT]}}
CONSUMER = {"resource": "pods", "name": "p", "uid": "1"}


@pytest_asyncio.fixture(loop_scope="session")
async def claims(send: Send) -> str:
    """The path of the claims of a new namespace."""
    name = f"devices-{uuid4().hex[:8]}"
    assert (await send("POST", "/api/v1/namespaces", {"metadata": {"name": name}})).code == 201
    return f"{GROUP}/namespaces/{name}/resourceclaims"


def slice_(driver: str, **spec: Any) -> dict[str, Any]:
    pool = {"name": "pool", "generation": 1, "resourceSliceCount": 1}
    return {"metadata": {"generateName": "slice-"}, "spec": {"driver": driver, "pool": pool, **spec}}


async def test_slices_are_listed_by_their_node_and_their_driver(send: Send) -> None:
    made = {}
    for driver, spec in (
        ("a", {"nodeName": "n1"}),
        ("a", {"nodeName": "n2"}),
        ("b", {"nodeName": "n1"}),
        ("b", {"allNodes": True}),
    ):
        answer = await send("POST", f"{GROUP}/resourceslices", slice_(f"{driver}.slices.example.com", **spec))
        assert answer.code == 201, answer.body
        made[answer.body["metadata"]["name"]] = driver, spec.get("nodeName", "")

    async def listed(selector: str, **headers: str) -> Answer:
        return await send("GET", f"{GROUP}/resourceslices?fieldSelector={selector}", **headers)

    for selector, wanted in (
        ("spec.driver=a.slices.example.com", [("a", "n1"), ("a", "n2")]),
        ("spec.driver=b.slices.example.com,spec.nodeName=n1", [("b", "n1")]),
        ("spec.driver=b.slices.example.com,spec.nodeName=", [("b", "")]),
        ("spec.driver=b.slices.example.com,spec.nodeName!=n1", [("b", "")]),
    ):
        found = (await listed(selector)).body["items"]
        assert sorted(made[it["metadata"]["name"]] for it in found) == wanted
    table = (await listed("spec.driver=b.slices.example.com,spec.nodeName=n1", **TABLE)).body
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Node", "Driver", "Pool", "Age"]
    assert table["rows"][0]["cells"][1:4] == ["n1", "b.slices.example.com", "pool"]
    refused = await listed("spec.pool.name=pool")
    assert (refused.code, refused.body["reason"]) == (400, "BadRequest")


async def test_a_taint_says_when_it_began(send: Send) -> None:
    device = {"name": "d", "taints": [{"key": "a", "effect": "NoSchedule"}], "attributes": {"model": {"string": ""}}}
    made = (
        await send("POST", f"{GROUP}/resourceslices", slice_("t.example.com", allNodes=True, devices=[device]))
    ).body
    [found] = made["spec"]["devices"]
    assert found["taints"][0]["timeAdded"].endswith("Z")
    assert found["attributes"] == {"model": {"string": ""}}
    assert made["metadata"]["generation"] == 1


async def test_a_class_whose_selector_does_not_compile_is_refused(send: Send) -> None:
    selector = {"cel": {"expression": "device.vendor == 'x'"}}
    bad = {"metadata": {"name": "bad"}, "spec": {"selectors": [selector]}}
    refused = await send("POST", f"{GROUP}/deviceclasses", bad)
    assert refused.code == 422
    assert "spec.selectors[0].cel.expression: Invalid value: " in refused.body["message"]
    assert "undefined field 'vendor'" in refused.body["message"]


async def test_a_claim_is_allocated_reserved_and_given_back(send: Send, claims: str) -> None:
    async def state() -> str:
        rows = (await send("GET", claims, **TABLE)).body["rows"]
        return str(rows[0]["cells"][1])

    async def put(subresource: str, change: dict[str, Any]) -> Answer:
        current = (await send("GET", f"{claims}/one")).body
        return await send("PUT", f"{claims}/one{subresource}", {**current, **change})

    status = {"allocation": ALLOCATION}
    document = {"metadata": {"name": "one", "finalizers": [FINALIZER]}, "spec": SPEC, "status": status}
    made = await send("POST", claims, document)
    assert (made.code, "status" in made.body and made.body["status"] != {}) == (201, False)
    assert await state() == "pending"
    assert (await put("", {"status": status})).body.get("status", {}) == {}
    other = {"devices": {"requests": [{**REQUEST, "name": "two"}]}}
    given = await put("/status", {"status": status, "spec": other})
    assert (given.code, given.body["spec"]["devices"]["requests"][0]["name"]) == (200, "one")
    assert await state() == "allocated"
    assert (await put("/status", {"status": {**status, "reservedFor": [CONSUMER]}})).code == 200
    assert await state() == "allocated,reserved"
    moved = {"devices": {"results": [{**RESULT, "device": "gpu-1"}]}}
    refused = await put("/status", {"status": {"allocation": moved, "reservedFor": [CONSUMER]}})
    assert (refused.code, refused.body["details"]["causes"][0]["field"]) == (422, "status.allocation")
    await send("DELETE", f"{claims}/one")
    assert await state() == "deleted,allocated,reserved"
    late = [CONSUMER, {**CONSUMER, "uid": "2"}]
    refused = await put("/status", {"status": {**status, "reservedFor": late}})
    assert "new entries may not be added while" in refused.body["message"]
    assert (await put("/status", {"status": {}})).code == 200
    assert await state() == "deleted"
    gone = await send("PATCH", f"{claims}/one", {"metadata": {"finalizers": None}}, MERGE)
    assert gone.code == 200
    assert (await send("GET", f"{claims}/one")).code == 404


async def test_devices_of_others_are_for_namespaces_with_a_label(send: Send, claims: str) -> None:
    admin = {"devices": {"requests": [{"name": "one", "exactly": {**REQUEST["exactly"], "adminAccess": True}}]}}
    document = {"metadata": {"name": "one"}, "spec": admin}
    refused = await send("POST", claims, document)
    assert refused.code == 422
    assert refused.body["details"]["causes"] == [
        {
            "reason": "FieldValueForbidden",
            "field": "spec.devices.requests[0].adminAccess",
            "message": "Forbidden: admin access to devices requires the `resource.kubernetes.io/admin-access: true` "
            "label on the containing namespace",
        }
    ]
    label = {"metadata": {"labels": {"resource.kubernetes.io/admin-access": "true"}}}
    await send("PATCH", f"/api/v1/namespaces/{claims.split('/')[-2]}", label, MERGE)
    assert (await send("POST", claims, document)).code == 201


async def test_who_may_write_a_status_may_not_yet_allocate(send: Send, claims: str) -> None:
    """A driver and an allocator, whose rights are those of upstream's hardening guide."""
    name = uuid4().hex[:8]
    driver, allocator = f"driver-{name}", f"allocator-{name}"
    rights = {
        driver: ("arbitrary-node:patch", "resourceclaims/driver", ["gpu.example.com"]),
        allocator: ("patch", "resourceclaims/binding", []),
    }
    for user, (verb, resource, named) in rights.items():
        rules = [
            {"apiGroups": ["resource.k8s.io"], "resources": ["resourceclaims/status"], "verbs": ["patch"]},
            {"apiGroups": ["resource.k8s.io"], "resources": [resource], "verbs": [verb], "resourceNames": named},
        ]
        assert (await send("POST", f"{RBAC}/clusterroles", {"metadata": {"name": user}, "rules": rules})).code == 201
        binding = {
            "metadata": {"name": user},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user},
            "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}],
        }
        assert (await send("POST", f"{RBAC}/clusterrolebindings", binding)).code == 201
    assert (await send("POST", claims, {"metadata": {"name": "one"}, "spec": SPEC})).code == 201

    async def patch(user: str, status: dict[str, Any]) -> Answer:
        impersonating = {"Impersonate-User": user}
        return await send("PATCH", f"{claims}/one/status", {"status": status}, MERGE, **impersonating)

    allocated = {"allocation": ALLOCATION, "reservedFor": [CONSUMER]}
    device = {"driver": "gpu.example.com", "pool": "n1", "device": "gpu-0", "data": {"a": 1}}
    refused = await patch(driver, allocated)
    assert refused.code == 422
    assert 'requires resource="resourceclaims/binding", verb="patch" permission' in refused.body["message"]
    assert (await patch(allocator, allocated)).code == 200
    refused = await patch(allocator, {"devices": [device]})
    assert 'resource="resourceclaims/driver", verb="[arbitrary-node:patch]" permission' in refused.body["message"]
    answer = await patch(driver, {"devices": [device]})
    assert (answer.code, answer.body["status"]["devices"]) == (200, [device])
