"""Workloads and what watches over them, with the controllers, the scheduler and a simulated node at work."""

import asyncio
from typing import Any

import pytest

from .conftest import APPLY, MERGE, STRATEGIC, Api, is_true
from .samples import CONDITION, CONTAINER, JOB_TEMPLATE, LABELS, TEMPLATE

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def api(busy: Api) -> Api:
    return busy


SELECTOR = {"matchLabels": LABELS}
SELECTED = "labelSelector=app%3Dsample"


def apps(namespace: str, plural: str) -> str:
    return f"/apis/apps/v1/namespaces/{namespace}/{plural}"


def core(namespace: str, plural: str) -> str:
    return f"/api/v1/namespaces/{namespace}/{plural}"


def workload(name: str = "sample", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": LABELS}, "spec": {"selector": SELECTOR, "template": TEMPLATE, **spec}}


def ready(replicas: int) -> Any:
    def holds(obj: Any) -> bool:
        status = obj.get("status", {})
        now = status.get("observedGeneration") == obj["metadata"]["generation"]
        return bool(now and status.get("readyReplicas", 0) == replicas == status.get("replicas", 0))

    return holds


WORKLOADS = [
    ("deployments", "apps/v1", "Deployment", workload),
    ("replicasets", "apps/v1", "ReplicaSet", workload),
    ("statefulsets", "apps/v1", "StatefulSet", lambda **spec: workload(serviceName="sample", **spec)),
    ("replicationcontrollers", "v1", "ReplicationController", lambda **spec: workload(**{**spec, "selector": LABELS})),
]


@pytest.mark.parametrize(("plural", "version", "kind", "make"), WORKLOADS, ids=[w[0] for w in WORKLOADS])
async def test_replicas_are_run_changed_and_scaled(
    api: Api, namespace: str, plural: str, version: str, kind: str, make: Any
) -> None:
    collection = apps(namespace, plural) if version == "apps/v1" else core(namespace, plural)
    path = f"{collection}/sample"
    made = await api.create(collection, make(replicas=1))
    assert made["status"].get("replicas", 0) == 0
    await api.until(path, ready(1))

    scale = await api.get(f"{path}/scale")
    assert (scale["kind"], scale["spec"]["replicas"], scale["status"]["replicas"]) == ("Scale", 1, 1)
    assert scale["status"]["selector"] == "app=sample"
    scale["spec"]["replicas"] = 2
    assert (await api.put(f"{path}/scale", scale))["spec"]["replicas"] == 2
    await api.until(path, ready(2))
    assert (await api.patch(f"{path}/scale", {"spec": {"replicas": 3}}))["spec"]["replicas"] == 3
    await api.until(path, ready(3))
    applied = {"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": 2}}
    scaled = await api.patch(f"{path}/scale?fieldManager=scaler&force=true", applied, APPLY)
    assert (scaled["kind"], scaled["spec"]["replicas"]) == ("Scale", 2)

    change = {"metadata": {"labels": {"patched": "yes"}}, "spec": {"replicas": 1}}
    assert (await api.patch(path, change, STRATEGIC))["metadata"]["labels"] == LABELS | {"patched": "yes"}
    await api.until(path, ready(1))

    revision = (await api.get(path))["metadata"]["resourceVersion"]
    async with api.watch(f"{collection}?{SELECTED}", revision) as watch:
        for condition in ("StatusUpdate", "StatusPatched"):
            await api.patch(f"{path}/status", {"status": {"conditions": [{**CONDITION, "type": condition}]}})
            said = is_true(condition)
            await watch.until(lambda _, obj, said=said: bool(said(obj)))  # type: ignore[misc]
        await api.patch(f"{path}/status", {"status": {"readyReplicas": 0, "availableReplicas": 0}})
        await watch.until(lambda _, obj: not obj["status"].get("readyReplicas"))
        await api.until(path, ready(1))
        listing = await api.get(f"/api/v1/{plural}?{SELECTED}" if version == "v1" else f"/apis/apps/v1/{plural}")
        assert path.rpartition("/")[2] in [i["metadata"]["name"] for i in listing["items"]]
        await api.delete(f"{collection}?{SELECTED}&propagationPolicy=Background")
        await watch.until_type("DELETED")


async def test_a_daemon_sets_revisions_are_objects(api: Api, namespace: str) -> None:
    sets, revisions = apps(namespace, "daemonsets"), apps(namespace, "controllerrevisions")
    await api.create(sets, {"metadata": {"name": "sample", "labels": LABELS}, "spec": workload()["spec"]})
    running = await api.until(f"{sets}/sample", lambda o: o["status"]["numberReady"] == 1)
    assert running["status"]["desiredNumberScheduled"] == 1

    async def listed(selector: str = SELECTED) -> list[Any]:
        found: list[Any] = (await api.get(f"{revisions}?{selector}"))["items"]
        return found

    (first,) = await listed()
    assert first["revision"] == 1
    await api.patch(f"{revisions}/{first['metadata']['name']}", {"metadata": {"labels": {"patched": "yes"}}})
    metadata = {"name": f"{first['metadata']['name']}-copy", "labels": {**LABELS, "copied": "yes"}}
    metadata["ownerReferences"] = first["metadata"]["ownerReferences"]
    copy = await api.create(revisions, {"metadata": metadata, "data": first["data"], "revision": 2})
    assert len(await listed()) == 2
    await api.delete(f"{revisions}/{first['metadata']['name']}")
    assert [r["metadata"]["name"] for r in await listed()] == [copy["metadata"]["name"]]
    copy["metadata"]["labels"]["updated"] = "yes"
    await api.put(f"{revisions}/{copy['metadata']['name']}", copy)
    async with api.watch(f"{revisions}?{SELECTED}", copy["metadata"]["resourceVersion"]) as watch:
        await api.patch(f"{sets}/sample", {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 7}}}})
        made = await watch.until(lambda type_, o: type_ == "ADDED" and o["revision"] == 3)
    assert {r["revision"] for r in await listed()} == {2, 3}
    await api.delete(f"{revisions}?labelSelector=updated%3Dyes")
    assert [r["metadata"]["name"] for r in await listed()] == [made["metadata"]["name"]]


async def test_a_daemon_sets_failed_pod_is_replaced(api: Api, namespace: str) -> None:
    sets, pods = apps(namespace, "daemonsets"), core(namespace, "pods")
    await api.create(sets, {"metadata": {"name": "sample", "labels": LABELS}, "spec": workload()["spec"]})
    await api.until(f"{sets}/sample", lambda o: o["status"]["numberReady"] == 1)
    (pod,) = (await api.get(pods))["items"]
    async with api.watch(pods, pod["metadata"]["resourceVersion"]) as watch:
        await api.patch(f"{pods}/{pod['metadata']['name']}/status", {"status": {"phase": "Failed"}})
        await watch.until(lambda type_, o: type_ == "ADDED" and o["metadata"]["name"] != pod["metadata"]["name"])
    await api.delete(f"{sets}?{SELECTED}&propagationPolicy=Background")
    assert (await api.get(sets))["items"] == []


async def test_a_job_runs_to_its_end(api: Api, namespace: str) -> None:
    jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    done = {"spec": {"restartPolicy": "Never", "containers": [{**CONTAINER, "command": ["sh", "-c", "exit 0"]}]}}
    await api.create(jobs, {"metadata": {"name": "sample"}, "spec": {"completions": 2, "template": done}})
    finished = await api.until(f"{jobs}/sample", is_true("Complete"))
    assert (finished["status"]["succeeded"], is_true("SuccessCriteriaMet")(finished)) == (2, True)
    await api.delete(f"{jobs}/sample?propagationPolicy=Background")
    await api.gone(f"{jobs}/sample")


async def test_a_suspended_job_is_patched_updated_and_deleted_with_others(api: Api, namespace: str) -> None:
    jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    await api.create(jobs, {"metadata": {"name": "sample"}, "spec": {"suspend": True, "template": JOB_TEMPLATE}})
    await api.until(f"{jobs}/sample", is_true("Suspended"))
    await api.patch(f"{jobs}/sample", {"metadata": {"labels": LABELS}})
    present = await api.get(f"{jobs}/sample")
    present["metadata"]["annotations"] = {"updated": "true"}
    await api.put(f"{jobs}/sample", present)
    change = {"metadata": {"annotations": {"patchedstatus": "true"}}, "status": {"conditions": [CONDITION]}}
    patched = await api.patch(f"{jobs}/sample/status", change)
    assert patched["metadata"]["annotations"] == {"updated": "true", "patchedstatus": "true"}
    assert len((await api.get(f"/apis/batch/v1/jobs?{SELECTED}"))["items"]) == 1
    async with api.watch(f"{jobs}?{SELECTED}", patched["metadata"]["resourceVersion"]) as watch:
        await api.delete(f"{jobs}?{SELECTED}&propagationPolicy=Background")
        await watch.until_type("DELETED")


async def test_a_job_takes_orphans_and_lets_strangers_go(api: Api, namespace: str) -> None:
    jobs, pods = f"/apis/batch/v1/namespaces/{namespace}/jobs", core(namespace, "pods")
    await api.create(jobs, {"metadata": {"name": "sample"}, "spec": {"parallelism": 2, "template": JOB_TEMPLATE}})
    await api.until(f"{jobs}/sample", lambda o: o["status"].get("ready") == 2)
    first, second = (p["metadata"]["name"] for p in (await api.get(pods))["items"])
    await api.patch(f"{pods}/{first}", {"metadata": {"ownerReferences": None}})
    await api.until(f"{pods}/{first}", lambda o: bool(o["metadata"].get("ownerReferences")))
    gone = {"batch.kubernetes.io/controller-uid": None, "controller-uid": None}
    await api.patch(f"{pods}/{second}", {"metadata": {"labels": gone}})
    await api.until(f"{pods}/{second}", lambda o: not o["metadata"].get("ownerReferences"))


async def test_a_budget_is_counted_spent_and_changed(api: Api, namespace: str) -> None:
    budgets, pods = f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets", core(namespace, "pods")
    spec = {"minAvailable": 2, "selector": SELECTOR}
    await api.create(budgets, {"metadata": {"name": "sample", "labels": LABELS}, "spec": spec})
    for name in ("one", "two"):
        pod = {"metadata": {"name": name, "labels": LABELS}, "spec": TEMPLATE["spec"]}
        await api.create(pods, pod)
        await api.until(f"{pods}/{name}", is_true("Ready"))
    counted = await api.until(f"{budgets}/sample", lambda o: o["status"]["currentHealthy"] == 2)
    assert (counted["status"]["disruptionsAllowed"], counted["status"]["desiredHealthy"]) == (0, 2)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "one", "namespace": namespace}}
    refused = await api.send("POST", f"{pods}/one/eviction", eviction)
    assert (refused.code, refused.body["reason"]) == (429, "TooManyRequests")
    assert refused.body["details"]["causes"][0]["reason"] == "DisruptionBudget"

    noted = {"status": {"disruptedPods": {"one": "2036-01-01T00:00:00Z"}}}
    assert (await api.patch(f"{budgets}/sample/status", noted))["status"]["disruptedPods"]
    cleared = {"status": {"disruptedPods": None}}
    assert not (await api.patch(f"{budgets}/sample/status", cleared))["status"].get("disruptedPods")
    change = {"metadata": {"annotations": {"patched": "yes"}}, "spec": {"minAvailable": 1}}
    await api.patch(f"{budgets}/sample", change, STRATEGIC)
    await api.until(f"{budgets}/sample", lambda o: o["status"]["disruptionsAllowed"] == 1)
    assert (await api.send("POST", f"{pods}/one/eviction", eviction)).code == 201
    await api.gone(f"{pods}/one")
    assert len((await api.get(f"/apis/policy/v1/poddisruptionbudgets?{SELECTED}"))["items"]) >= 1
    await api.delete(f"{budgets}?{SELECTED}")
    assert (await api.get(budgets))["items"] == []


async def test_a_stateful_set_replaces_an_evicted_pod(api: Api, namespace: str) -> None:
    sets, pods = apps(namespace, "statefulsets"), core(namespace, "pods")
    await api.create(sets, workload(serviceName="sample", replicas=1))
    old = await api.until(f"{pods}/sample-0", is_true("Ready"))
    async with api.watch(pods, old["metadata"]["resourceVersion"]) as watch:
        await api.patch(f"{pods}/sample-0/status", {"status": {"phase": "Failed", "reason": "Evicted"}})
        await watch.until_type("DELETED")
        new = await watch.until_type("ADDED")
    assert new["metadata"]["name"] == "sample-0"
    assert new["metadata"]["uid"] != old["metadata"]["uid"]


async def test_the_condition_of_a_full_namespace_is_told(api: Api, namespace: str) -> None:
    quota = {"metadata": {"name": "few"}, "spec": {"hard": {"pods": "2"}}}
    await api.create(core(namespace, "resourcequotas"), quota)
    await api.until(f"{core(namespace, 'resourcequotas')}/few", lambda o: "hard" in o.get("status", {}))
    controllers = core(namespace, "replicationcontrollers")
    body = workload(replicas=3)
    body["spec"]["selector"] = LABELS
    await api.create(controllers, body)
    await api.until(f"{controllers}/sample", is_true("ReplicaFailure"))
    await api.patch(f"{controllers}/sample", {"spec": {"replicas": 2}})
    await api.until(f"{controllers}/sample", lambda o: not o["status"].get("conditions"))


async def test_a_rollout_is_seen_in_the_replica_sets(api: Api, namespace: str) -> None:
    deployments = apps(namespace, "deployments")
    await api.create(deployments, workload(replicas=2, revisionHistoryLimit=0))
    await api.until(f"{deployments}/sample", ready(2))
    image = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "registry.invalid/other:1"}]}}}}
    await api.patch(f"{deployments}/sample", image, STRATEGIC)
    await api.until(
        f"{deployments}/sample",
        lambda o: (
            ready(2)(o) and o["status"].get("updatedReplicas") == 2 and not o["status"].get("unavailableReplicas")
        ),
    )
    async with api.watch(f"{apps(namespace, 'replicasets')}?{SELECTED}") as watch:
        seen: dict[str, str] = {}
        async with asyncio.timeout(20):
            while sum(t != "DELETED" for t in seen.values()) != 1 or len(seen) == 0:
                type_, obj = await watch.next()
                seen[obj["metadata"]["name"]] = type_
    applied = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"paused": True}}
    paused = await api.patch(f"{deployments}/sample?fieldManager=one", applied, APPLY)
    assert paused["spec"]["paused"] is True
    assert (await api.patch(f"{deployments}/sample", {"spec": {"paused": None}}, MERGE))["spec"].get("paused") is None
