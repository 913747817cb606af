"""What goes with what: owners and dependents, and namespaces with all that is in them."""

from typing import Any

import pytest

from .conftest import Api, is_true
from .samples import LABELS, TEMPLATE
from .test_workloads import apps, core, ready, workload

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def api(busy: Api) -> Api:
    return busy


def owner(obj: Any, kind: str = "ReplicationController", version: str = "v1") -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "name": obj["metadata"]["name"], "uid": obj["metadata"]["uid"]}


async def controller(api: Api, namespace: str, replicas: int, name: str = "sample") -> tuple[str, Any]:
    collection = core(namespace, "replicationcontrollers")
    body = workload(name, replicas=replicas, selector={"name": name})
    body["spec"]["template"] = {"metadata": {"labels": {"name": name}}, "spec": TEMPLATE["spec"]}
    await api.create(collection, body)
    path = f"{collection}/{name}"
    return path, await api.until(path, lambda o: o["status"]["replicas"] == replicas)


async def test_pods_go_with_their_controller(api: Api, namespace: str) -> None:
    path, _ = await controller(api, namespace, 2)
    revision = (await api.get(core(namespace, "pods")))["metadata"]["resourceVersion"]
    async with api.watch(core(namespace, "pods"), revision) as watch:
        await api.delete(path, {"propagationPolicy": "Background"})
        await watch.until_type("DELETED")
        await watch.until_type("DELETED")
    assert (await api.send("GET", path)).code == 404


async def test_orphans_stay_and_have_no_owner(api: Api, namespace: str) -> None:
    path, _ = await controller(api, namespace, 2)
    await api.delete(path, {"propagationPolicy": "Orphan"})
    await api.gone(path)
    pods = (await api.get(core(namespace, "pods")))["items"]
    assert [p["metadata"].get("ownerReferences") for p in pods] == [None, None]


@pytest.mark.parametrize("policy", ["Background", "Orphan"])
async def test_a_deployments_replica_set_goes_or_stays(api: Api, namespace: str, policy: str) -> None:
    deployments, sets = apps(namespace, "deployments"), apps(namespace, "replicasets")
    await api.create(deployments, workload(replicas=1))
    await api.until(f"{deployments}/sample", ready(1))
    (dependent,) = (await api.get(sets))["items"]
    name = dependent["metadata"]["name"]
    await api.delete(f"{deployments}/sample", {"propagationPolicy": policy})
    await api.gone(f"{deployments}/sample")
    if policy == "Background":
        await api.gone(f"{sets}/{name}")
    else:
        assert not (await api.get(f"{sets}/{name}"))["metadata"].get("ownerReferences")


async def test_a_controller_waits_for_its_pods(api: Api, namespace: str) -> None:
    path, _ = await controller(api, namespace, 3)
    (first, *_) = (await api.get(core(namespace, "pods")))["items"]
    held = f"{core(namespace, 'pods')}/{first['metadata']['name']}"
    await api.patch(held, {"metadata": {"finalizers": ["example.com/hold"]}})
    await api.delete(path, {"propagationPolicy": "Foreground"})
    await api.until(held, lambda o: "deletionTimestamp" in o["metadata"])
    waiting = await api.get(path)
    assert waiting["metadata"]["finalizers"] == ["foregroundDeletion"]
    await api.patch(held, {"metadata": {"finalizers": None}})
    await api.gone(path)


async def test_a_pod_with_another_owner_stays(api: Api, namespace: str) -> None:
    path, _ = await controller(api, namespace, 2, "goes")
    _, staying = await controller(api, namespace, 0, "stays")
    pods = (await api.get(core(namespace, "pods")))["items"]
    shared = f"{core(namespace, 'pods')}/{pods[0]['metadata']['name']}"
    both = [*pods[0]["metadata"]["ownerReferences"], owner(staying)]
    await api.patch(shared, {"metadata": {"ownerReferences": both}})
    await api.delete(path, {"propagationPolicy": "Foreground"})
    await api.gone(path)
    left = await api.get(shared)
    assert [o["name"] for o in left["metadata"]["ownerReferences"]] == ["stays"]
    assert "deletionTimestamp" not in left["metadata"]


async def test_a_circle_of_owners_is_no_trap(api: Api, namespace: str) -> None:
    pods, made = core(namespace, "pods"), []
    for n in range(3):
        body = {"metadata": {"name": f"pod{n}", "labels": LABELS}, "spec": TEMPLATE["spec"]}
        made.append(await api.create(pods, body))
    for n in range(3):
        reference = [owner(made[n - 1], "Pod") | {"controller": True, "blockOwnerDeletion": True}]
        await api.patch(f"{pods}/pod{n}", {"metadata": {"ownerReferences": reference}})
    await api.delete(f"{pods}/pod0", {"propagationPolicy": "Foreground"})
    for n in range(3):
        await api.gone(f"{pods}/pod{n}")


async def test_a_namespace_goes_with_all_that_is_in_it(api: Api) -> None:
    name = (await api.create("/api/v1/namespaces", {"metadata": {"generateName": "going-"}}))["metadata"]["name"]
    await api.until(f"/api/v1/namespaces/{name}/serviceaccounts/default", lambda _: True)
    await api.create(core(name, "services"), {"metadata": {"name": "one"}, "spec": {"ports": [{"port": 80}]}})
    await api.create(core(name, "pods"), {"metadata": {"name": "one"}, "spec": TEMPLATE["spec"]})
    await api.until(f"{core(name, 'pods')}/one", is_true("Ready"))
    await api.delete(f"/api/v1/namespaces/{name}")
    await api.gone(f"/api/v1/namespaces/{name}")
    for plural in ("pods", "services"):
        assert (await api.get(core(name, plural)))["items"] == []


async def test_a_namespaces_pods_go_before_what_they_may_need(api: Api) -> None:
    name = (await api.create("/api/v1/namespaces", {"metadata": {"generateName": "ordered-"}}))["metadata"]["name"]
    path = f"/api/v1/namespaces/{name}"
    await api.until(f"{path}/serviceaccounts/default", lambda _: True)
    held = {"name": "held", "finalizers": ["example.com/hold"]}
    await api.create(core(name, "pods"), {"metadata": held, "spec": TEMPLATE["spec"]})
    await api.create(core(name, "configmaps"), {"metadata": {"name": "needed"}})
    await api.delete(path)
    told = await api.until(path, is_true("NamespaceContentRemaining"))
    assert told["status"]["phase"] == "Terminating"
    await api.until(f"{core(name, 'pods')}/held", lambda o: "deletionTimestamp" in o["metadata"])
    assert "deletionTimestamp" not in (await api.get(f"{core(name, 'configmaps')}/needed"))["metadata"]
    await api.patch(f"{core(name, 'pods')}/held", {"metadata": {"finalizers": None}})
    await api.gone(path)


async def test_a_namespace_has_finalizers_of_others(api: Api) -> None:
    made = await api.create("/api/v1/namespaces", {"metadata": {"generateName": "finalized-"}})
    path = f"/api/v1/namespaces/{made['metadata']['name']}"
    made["spec"]["finalizers"] = [*made["spec"]["finalizers"], "example.com/fake"]
    assert (await api.put(f"{path}/finalize", made))["spec"]["finalizers"] == ["kubernetes", "example.com/fake"]
    present = await api.get(path)
    present["spec"]["finalizers"] = ["kubernetes"]
    assert (await api.put(f"{path}/finalize", present))["spec"]["finalizers"] == ["kubernetes"]
    await api.delete(path)
    await api.gone(path)
