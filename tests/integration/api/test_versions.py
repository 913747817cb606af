"""Kinds of two versions are one kind: what is written in one form is read, watched and changed in the other."""

from typing import Any

import pytest

from .conftest import Send

pytestmark = pytest.mark.asyncio(loop_scope="session")

CORE, MODERN = "/api/v1/namespaces/default/events", "/apis/events.k8s.io/v1/namespaces/default/events"
V1 = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers"
V2 = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
MERGE = "application/merge-patch+json"
POD = {"apiVersion": "v1", "kind": "Pod", "namespace": "default", "name": "p"}
TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}


def cpu(percent: int) -> dict[str, Any]:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


REQUESTS = {
    "type": "Pods",
    "pods": {
        "metric": {"name": "requests", "selector": {"matchLabels": {"a": "b"}}},
        "target": {"type": "AverageValue", "averageValue": "10"},
    },
}


def autoscaler(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"maxReplicas": 5, "scaleTargetRef": TARGET, **spec}}


async def test_an_event_in_the_other_form(send: Send) -> None:
    event = {
        "metadata": {"name": "old"}, "involvedObject": POD, "reason": "Reason", "message": "words", "type": "Normal",
        "count": 3, "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T01:00:00Z",
        "source": {"component": "me", "host": "h"},
    }  # fmt: skip
    assert (await send("POST", CORE, event)).code == 201
    seen = (await send("GET", f"{MODERN}/old")).body
    assert (seen["apiVersion"], seen["regarding"], seen["note"]) == ("events.k8s.io/v1", POD, "words")
    assert (seen["deprecatedCount"], seen["deprecatedSource"]) == (3, {"component": "me", "host": "h"})
    assert not {"involvedObject", "message", "count", "source", "firstTimestamp"} & set(seen)
    await send("PATCH", f"{MODERN}/old", {"metadata": {"labels": {"a": "b"}}}, MERGE)
    assert (await send("GET", f"{CORE}/old")).body["metadata"]["labels"] == {"a": "b"}
    selected = (await send("GET", f"{MODERN}?fieldSelector=regarding.name%3Dp")).body
    assert (selected["kind"], [e["metadata"]["name"] for e in selected["items"]]) == ("EventList", ["old"])
    assert (await send("DELETE", f"{MODERN}/old")).code == 200
    assert (await send("GET", f"{CORE}/old")).code == 404


async def test_the_newer_form_of_events_asks_for_more(send: Send) -> None:
    event = {"metadata": {"name": "new"}, "regarding": POD, "reason": "Reason", "type": "Normal", "note": "words"}
    refused = await send("POST", MODERN, event)
    assert (refused.code, "eventTime: Required value" in refused.body["message"]) == (422, True)
    event |= {"eventTime": "2026-01-01T00:00:00.000000Z", "action": "Doing", "reportingController": "x.io/c"}
    made = await send("POST", MODERN, event | {"reportingInstance": "i"})
    assert (made.code, made.body["apiVersion"], made.body["note"]) == (201, "events.k8s.io/v1", "words")
    core = (await send("GET", f"{CORE}/new")).body
    assert (core["involvedObject"], core["message"], core["reportingComponent"]) == (POD, "words", "x.io/c")


async def test_an_autoscaler_of_version_one_has_one_metric(send: Send) -> None:
    made = await send("POST", V1, autoscaler("one", targetCPUUtilizationPercentage=60))
    assert (made.code, made.body["apiVersion"]) == (201, "autoscaling/v1")
    assert made.body["spec"]["targetCPUUtilizationPercentage"] == 60
    assert (await send("GET", f"{V2}/one")).body["spec"]["metrics"] == [cpu(60)]


async def test_what_version_one_cannot_say_survives_it(send: Send) -> None:
    behavior = {"scaleDown": {"stabilizationWindowSeconds": 60}}
    spec = {"metrics": [cpu(55), REQUESTS], "behavior": behavior}
    await send("POST", V2, autoscaler("two", **spec))
    seen = (await send("GET", f"{V1}/two")).body
    assert seen["spec"]["targetCPUUtilizationPercentage"] == 55
    assert not {"metrics", "behavior"} & set(seen["spec"])
    await send("PATCH", f"{V1}/two", {"spec": {"targetCPUUtilizationPercentage": 70}}, MERGE)
    after = (await send("GET", f"{V2}/two")).body
    assert (after["spec"]["metrics"], after["spec"]["behavior"]) == ([cpu(70), REQUESTS], behavior)
    assert "annotations" not in after["metadata"]


async def test_an_autoscaler_without_a_goal_gets_upstreams(send: Send) -> None:
    made = await send("POST", V2, autoscaler("none"))
    assert made.body["spec"]["metrics"] == [cpu(80)]
