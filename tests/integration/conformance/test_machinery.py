"""What the API machinery promises for every kind: chunks, watches, representations, strictness, discovery."""

import asyncio
from typing import Any

import pytest

from .conftest import APPLY, MERGE, STRATEGIC, Api
from .samples import CONTAINER, TEMPLATE
from .test_workloads import apps, core, workload

pytestmark = pytest.mark.asyncio(loop_scope="session")

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
MANY, LIMIT = 40, 17


async def test_a_list_comes_in_chunks_of_one_revision(api: Api, namespace: str) -> None:
    templates = core(namespace, "podtemplates")
    await asyncio.gather(
        *(api.create(templates, {"metadata": {"name": f"t-{n:04d}"}, "template": TEMPLATE}) for n in range(MANY))
    )
    found: list[str] = []
    token, revisions = "", set()
    while True:
        page = await api.get(f"{templates}?limit={LIMIT}&continue={token}")
        assert len(page["items"]) <= LIMIT
        found += [item["metadata"]["name"] for item in page["items"]]
        revisions.add(page["metadata"]["resourceVersion"])
        assert page["metadata"].get("remainingItemCount", 0) == MANY - len(found)
        token = page["metadata"].get("continue", "")
        await api.create(templates, {"metadata": {"name": f"zz-{len(found)}"}, "template": TEMPLATE})
        if not token:
            break
    assert (found, len(revisions)) == ([f"t-{n:04d}" for n in range(MANY)], 1)
    assert len((await api.get(templates))["items"]) > MANY
    table = await api.send("GET", f"{templates}?limit=1", Accept=TABLE)
    assert [c["name"] for c in table.body["columnDefinitions"]] == ["Name", "Containers", "Images", "Pod Labels"]
    assert table.body["metadata"]["continue"]


async def test_a_watch_goes_on_from_where_another_ended(api: Api, namespace: str) -> None:
    maps = core(namespace, "configmaps")
    first = await api.create(maps, {"metadata": {"name": "one", "labels": {"watched": "a"}}})
    revision = first["metadata"]["resourceVersion"]
    selected = f"{maps}?labelSelector=watched%3Da"
    async with api.watch(selected, revision) as watch:
        await api.patch(f"{maps}/one", {"data": {"mutation": "1"}})
        revision = (await watch.until_type("MODIFIED"))["metadata"]["resourceVersion"]
    await api.patch(f"{maps}/one", {"data": {"mutation": "2"}})
    async with api.watch(selected, revision) as watch:
        assert (await watch.next())[1]["data"] == {"mutation": "2"}
        await api.patch(f"{maps}/one", {"metadata": {"labels": {"watched": "b"}}})
        assert (await watch.next())[0] == "DELETED"
        await api.patch(f"{maps}/one", {"data": {"mutation": "3"}})
        await api.patch(f"{maps}/one", {"metadata": {"labels": {"watched": "a"}}})
        type_, back = await watch.next()
        assert (type_, back["data"]) == ("ADDED", {"mutation": "3"})
        await api.delete(f"{maps}/one")
        assert (await watch.next())[0] == "DELETED"


async def test_every_watch_sees_the_same_order(api: Api, namespace: str) -> None:
    maps = core(namespace, "configmaps")
    revision = (await api.get(maps))["metadata"]["resourceVersion"]

    async def revisions(since: str) -> list[str]:
        async with api.watch(maps, since) as watch:
            return [(await watch.next())[1]["metadata"]["resourceVersion"] for _ in range(30)]

    async def write() -> None:
        for n in range(10):
            await api.create(maps, {"metadata": {"name": f"m{n}"}})
            await api.patch(f"{maps}/m{n}", {"data": {"a": "b"}})
            await api.delete(f"{maps}/m{n}")

    watching = asyncio.gather(*(revisions(revision) for _ in range(4)))
    await write()
    seen = await watching
    assert all(one == seen[0] for one in seen)
    assert (await revisions(revision))[10:] == seen[0][10:]


async def test_what_is_no_object_has_no_table(api: Api) -> None:
    review = {"spec": {"resourceAttributes": {"namespace": "default", "resource": "pods", "verb": "get"}}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    refused = await api.send("POST", path, review, Accept=TABLE)
    assert refused.code == 406
    version = await api.get("/version")
    assert version["major"].isdigit()
    assert version["minor"].isdigit()


async def test_discovery_knows_each_groups_preferred_version(api: Api) -> None:
    for group in (await api.get("/apis"))["groups"]:
        alone = await api.get(f"/apis/{group['name']}")
        assert alone["preferredVersion"] == group["preferredVersion"]
        assert alone["preferredVersion"] in alone["versions"]
        preferred = alone["preferredVersion"]["groupVersion"]
        listing = await api.get(f"/apis/{preferred}")
        assert (listing["groupVersion"], bool(listing["resources"])) == (preferred, True)


WRONG = (
    '{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "wrong", "unknownMeta": "v"}, "spec": {'
    '"unknown1": "v", "unknownDupe": "a", "unknownDupe": "b", "paused": true, "paused": false, "selector": '
    '{"matchLabels": {"app": "x"}}, "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": '
    '[{"name": "c", "image": "i", "unknownNested": "v", "imagePullPolicy": "Always", "imagePullPolicy": "Never"}]}}}}'
)
FAULTS = [
    'unknown field "metadata.unknownMeta"', 'unknown field "spec.unknown1"', 'duplicate field "spec.paused"',
    'unknown field "spec.template.spec.containers[0].unknownNested"',
    'duplicate field "spec.template.spec.containers[0].imagePullPolicy"',
]  # fmt: skip


async def test_unknown_and_duplicate_fields_are_found(api: Api, namespace: str) -> None:
    deployments = apps(namespace, "deployments")
    refused = await api.send("POST", f"{deployments}?fieldValidation=Strict", WRONG.encode())
    assert (refused.code, [f for f in FAULTS if f not in refused.body["message"]]) == (400, [])
    assert "strict decoding error" in refused.body["message"]
    warned = await api.send("POST", f"{deployments}?fieldValidation=Warn&dryRun=All", WRONG.encode())
    assert (warned.code, [f for f in FAULTS if not any(f.replace('"', '\\"') in w for w in warned.warnings)]) == (
        201,
        [],
    )
    ignored = await api.send("POST", f"{deployments}?fieldValidation=Ignore&dryRun=All", WRONG.encode())
    assert (ignored.code, ignored.warnings) == (201, [])

    await api.create(deployments, workload())
    strict = f"{deployments}/sample?fieldValidation=Strict"
    for media in (MERGE, STRATEGIC):
        refused = await api.send("PATCH", strict, {"spec": {"unknownPatch": 1}}, media)
        assert ('unknown field "spec.unknownPatch"' in refused.body["message"], refused.code) == (True, 422), media
    applied: dict[str, Any] = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"unknownApplied": 1}}
    refused = await api.send("PATCH", f"{strict}&fieldManager=one", applied, APPLY)
    assert (refused.code, "unknownApplied" in refused.body["message"]) == (400, True) or refused.code == 500


async def test_events_of_both_groups_live(api: Api, namespace: str) -> None:
    core_events = core(namespace, "events")
    modern = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
    about = {"namespace": namespace, "name": "x", "kind": "Pod", "apiVersion": "v1"}
    event = {
        "metadata": {"name": "event-test", "labels": {"test": "yes"}}, "regarding": about, "reason": "Test",
        "eventTime": "2026-01-01T00:00:00.123456Z", "note": "first", "type": "Normal", "action": "Do",
        "reportingController": "test-controller", "reportingInstance": "test-node",
    }  # fmt: skip
    made = await api.create(modern, event)
    assert made["eventTime"] == "2026-01-01T00:00:00.123456Z"
    everywhere = "/apis/events.k8s.io/v1/events?labelSelector=test%3Dyes"
    assert [e["note"] for e in (await api.get(everywhere))["items"]] == ["first"]
    for selector in ("involvedObject.kind%3DPod%2Creason%3DTest", "source%3Dtest-controller"):
        found = (await api.get(f"{core_events}?fieldSelector={selector}"))["items"]
        assert [e["message"] for e in found] == ["first"], selector
    reported = f"{modern}?fieldSelector=reportingController%3Dtest-controller"
    assert [e["note"] for e in (await api.get(reported))["items"]] == ["first"]
    series = {"series": {"count": 100, "lastObservedTime": "2026-01-01T00:00:01.000009Z"}}
    assert (await api.patch(f"{modern}/event-test", series, STRATEGIC))["series"] == series["series"]
    present = await api.get(f"{modern}/event-test")
    present["series"] = {"count": 101, "lastObservedTime": "2026-01-01T00:00:02.000001Z"}
    assert (await api.put(f"{modern}/event-test", present))["series"]["count"] == 101
    change = {"message": "patched"}
    assert (await api.patch(f"{core_events}/event-test", change, STRATEGIC))["message"] == "patched"
    await api.delete(f"{modern}?labelSelector=test%3Dyes")
    assert (await api.get(everywhere))["items"] == []


async def test_a_priority_is_for_ever(api: Api, namespace: str) -> None:
    classes = "/apis/scheduling.k8s.io/v1/priorityclasses"
    made = await api.create(classes, {"metadata": {"name": namespace}, "value": 1})
    for change in ({"value": 9}, {"preemptionPolicy": "Never"}):
        refused = await api.send("PATCH", f"{classes}/{namespace}", change, MERGE)
        assert (refused.code, refused.body["reason"]) == (422, "Invalid")
    assert (await api.put(f"{classes}/{namespace}", made | {"description": "words"}))["description"] == "words"
    await api.delete(f"{classes}/{namespace}")


@pytest.mark.parametrize("plural", ["configmaps", "secrets"])
async def test_what_is_immutable_stays(api: Api, namespace: str, plural: str) -> None:
    collection = core(namespace, plural)
    value = {"configmaps": "v", "secrets": "dg=="}[plural]
    refused = await api.send("POST", collection, {"metadata": {"name": "empty"}, "data": {"": value}})
    assert (refused.code, refused.body["reason"]) == (422, "Invalid")
    await api.create(collection, {"metadata": {"name": "one"}, "data": {"a": value}})
    await api.patch(f"{collection}/one", {"immutable": True})
    for change in ({"data": {"a": None}}, {"immutable": None}):
        assert (await api.send("PATCH", f"{collection}/one", change, MERGE)).code == 422
    await api.patch(f"{collection}/one", {"metadata": {"labels": {"a": "b"}}})
    await api.delete(f"{collection}/one")


async def test_unsound_sysctls_are_refused(api: Api, namespace: str) -> None:
    names = ["foo-", "kernel.shmmax", "safe-and-unsafe", "bar.."]
    context = {"sysctls": [{"name": name, "value": "1"} for name in names]}
    pod = {"metadata": {"name": "one"}, "spec": {"containers": [CONTAINER], "securityContext": context}}
    refused = await api.send("POST", core(namespace, "pods"), pod)
    assert refused.code == 422
    told = [name for name in names if f'Invalid value: "{name}"' in refused.body["message"]]
    assert told == ["foo-", "bar.."]
    assert "kernel.shmmax" not in refused.body["message"]
