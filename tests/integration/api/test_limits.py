"""LimitRange and PodSecurity on a real API server, as upstream's conformance tests ask for them."""

from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from .conftest import Send

pytestmark = pytest.mark.asyncio(loop_scope="session")

ENFORCE, WARN = "pod-security.kubernetes.io/enforce", "pod-security.kubernetes.io/warn"
MERGE = "application/merge-patch+json"


@pytest_asyncio.fixture(loop_scope="session")
async def space(send: Send) -> str:
    return await made(send)


async def made(send: Send, **labels: str) -> str:
    name = f"limits-{uuid4().hex[:8]}"
    body = {"metadata": {"name": name, "labels": {k.replace("_", "/"): v for k, v in labels.items()}}}
    assert (await send("POST", "/api/v1/namespaces", body)).code == 201
    await send("POST", f"/api/v1/namespaces/{name}/serviceaccounts", {"metadata": {"name": "default"}})
    return f"/api/v1/namespaces/{name}"


def resources(cpu: str = "", memory: str = "", storage: str = "") -> dict[str, str]:
    every = {"cpu": cpu, "memory": memory, "ephemeral-storage": storage}
    return {name: amount for name, amount in every.items() if amount}


def pod(name: str, requests: Any = None, limits: Any = None, context: Any = None) -> dict[str, Any]:
    container = {"name": "pause", "image": "i", "resources": {"requests": requests or {}, "limits": limits or {}}}
    if context is not None:
        container["securityContext"] = context
    return {"metadata": {"name": name}, "spec": {"containers": [container]}}


async def test_a_limit_range_gives_defaults_and_holds_its_bounds(send: Send, space: str) -> None:
    defaults = {"requests": resources("100m", "200Mi", "200Gi"), "limits": resources("500m", "500Mi", "500Gi")}
    item = {
        "type": "Container", "min": resources("50m", "100Mi", "100Gi"), "max": resources("500m", "500Mi", "500Gi"),
        "default": defaults["limits"], "defaultRequest": defaults["requests"],
    }  # fmt: skip
    ranges, pods = f"{space}/limitranges", f"{space}/pods"
    assert (await send("POST", ranges, {"metadata": {"name": "l"}, "spec": {"limits": [item]}})).code == 201

    plain = (await send("POST", pods, pod("no-resources"))).body
    assert plain["spec"]["containers"][0]["resources"] == defaults
    assert plain["metadata"]["annotations"]["kubernetes.io/limit-ranger"] == (
        "LimitRanger plugin set: cpu, ephemeral-storage, memory request for container pause; "
        "cpu, ephemeral-storage, memory limit for container pause"
    )
    assert plain["status"]["qosClass"] == "Burstable"
    partial = (await send("POST", pods, pod("partial", resources("", "150Mi", "150Gi"), resources("300m")))).body
    assert partial["spec"]["containers"][0]["resources"] == {
        "requests": resources("300m", "150Mi", "150Gi"), "limits": resources("300m", "500Mi", "500Gi"),
    }  # fmt: skip

    little, much = resources("10m", "50Mi", "50Gi"), resources("600m", "600Mi", "600Gi")
    refused = await send("POST", pods, pod("little", little))
    assert (refused.code, refused.body["message"]) == (
        403,
        'pods "little" is forbidden: [minimum cpu usage per Container is 50m, but request is 10m, minimum '
        "ephemeral-storage usage per Container is 100Gi, but request is 50Gi, minimum memory usage per Container is "
        "100Mi, but request is 50Mi]",
    )
    too_much = await send("POST", pods, pod("much", much))
    assert too_much.code == 422  # more than the limit it gets by default
    assert (await send("POST", pods, pod("much", much, much))).code == 403
    item["min"] = resources("9m", "49Mi", "49Gi")
    await send("PATCH", f"{ranges}/l", {"spec": {"limits": [item]}}, MERGE)
    assert (await send("POST", pods, pod("little", little))).code == 201
    assert (await send("DELETE", f"{ranges}/l")).code == 200
    assert (await send("POST", pods, pod("much", much))).code == 201


async def test_a_restricted_namespace(send: Send) -> None:
    space = await made(send, **{ENFORCE: "restricted"})
    refused = await send("POST", f"{space}/pods", pod("x"))
    assert (refused.code, refused.body["reason"]) == (403, "Forbidden")
    assert refused.body["message"].startswith(
        'pods "x" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container '
        '"pause" must set securityContext.allowPrivilegeEscalation=false), '
    )
    safe = {
        "allowPrivilegeEscalation": False, "runAsNonRoot": True, "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip
    fine = await send("POST", f"{space}/pods", pod("x", context=safe))
    assert (fine.code, fine.warnings) == (201, [])
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod("x")["spec"]}
    deployment = {"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}}
    warned = await send("POST", space.replace("/api/v1", "/apis/apps/v1") + "/deployments", deployment)
    assert warned.code == 201
    assert warned.warnings[0].startswith('299 - "would violate PodSecurity \\"restricted:latest\\": allowPrivilege')


async def test_relabelling_a_namespace_warns_of_its_pods(send: Send, space: str) -> None:
    await send("POST", f"{space}/pods", pod("naughty", context={"privileged": True}))
    answer = await send("PATCH", space, {"metadata": {"labels": {ENFORCE: "baseline"}}}, MERGE)
    name = space.rpartition("/")[2]
    assert answer.warnings == [
        f'299 - "existing pods in namespace \\"{name}\\" violate the new PodSecurity enforce level \\"baseline:latest\\""',
        '299 - "naughty: privileged"',
    ]
    wrong = await send("PATCH", space, {"metadata": {"labels": {WARN: "loud"}}}, MERGE)
    assert (wrong.code, "must be one of privileged, baseline, restricted" in wrong.body["message"]) == (422, True)
