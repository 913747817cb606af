"""Pods, nodes and services as their clients see them, with a simulated node."""

from typing import Any

import pytest

from .conftest import MERGE, STRATEGIC, Api, is_true
from .samples import CONTAINER, LABELS
from .test_workloads import core

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def api(busy: Api) -> Api:
    return busy


async def run(api: Api, namespace: str, name: str = "one", **spec: Any) -> tuple[str, Any]:
    body = {"metadata": {"name": name, "labels": LABELS}, "spec": {"containers": [CONTAINER], **spec}}
    await api.create(core(namespace, "pods"), body)
    path = f"{core(namespace, 'pods')}/{name}"
    return path, await api.until(path, lambda o: o["status"]["phase"] == "Running")


async def test_a_pod_lives_and_is_watched(api: Api, namespace: str) -> None:
    path, running = await run(api, namespace)
    assert (running["status"]["hostIP"], running["status"]["qosClass"]) == ("127.0.0.1", "BestEffort")
    async with api.watch(core(namespace, "pods"), running["metadata"]["resourceVersion"]) as watch:
        image = {"spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "main", "image": "other:1"}]}}
        refused = await api.send("PATCH", path, image, STRATEGIC)
        assert refused.code == 422
        del image["spec"]["terminationGracePeriodSeconds"]
        await api.patch(path, {**image, "metadata": {"labels": {"patched": "yes"}}}, STRATEGIC)
        await watch.until(lambda _, o: o["metadata"]["labels"].get("patched") == "yes")
        change = {"status": {"message": "Patched", "reason": "E2E"}}
        assert (await api.patch(f"{path}/status", change))["status"]["reason"] == "E2E"
        await api.delete(f"{core(namespace, 'pods')}?labelSelector=app%3Dsample")
        await watch.until(lambda _, o: "deletionTimestamp" in o["metadata"])
        await watch.until_type("DELETED")


async def test_a_deadline_can_be_set_later(api: Api, namespace: str) -> None:
    path, _ = await run(api, namespace)
    await api.patch(path, {"spec": {"activeDeadlineSeconds": 1}})
    ended = await api.until(path, lambda o: o["status"]["phase"] == "Failed")
    assert ended["status"]["reason"] == "DeadlineExceeded"


async def test_ephemeral_containers_come_one_after_another(api: Api, namespace: str) -> None:
    path, _ = await run(api, namespace)
    debugger = {"name": "debugger", "image": "debug:1", "targetContainerName": "main", "stdin": True, "tty": True}
    change = {"spec": {"ephemeralContainers": [debugger]}}
    await api.patch(f"{path}/ephemeralcontainers", change, STRATEGIC)
    started = await api.until(path, lambda o: bool(o["status"].get("ephemeralContainerStatuses", [])))
    assert started["spec"]["ephemeralContainers"][0]["name"] == "debugger"
    present = await api.get(f"{path}/ephemeralcontainers")
    present["spec"]["ephemeralContainers"].append({**debugger, "name": "second"})
    updated = await api.put(f"{path}/ephemeralcontainers", present)
    assert [c["name"] for c in updated["spec"]["ephemeralContainers"]] == ["debugger", "second"]
    refused = await api.send("PATCH", path, {"spec": {"ephemeralContainers": [debugger]}}, MERGE)
    assert refused.code == 422


async def test_a_gate_holds_a_pod_unready(api: Api, namespace: str) -> None:
    path, _ = await run(api, namespace, readinessGates=[{"conditionType": "k8s.io/test-condition1"}])
    await api.until(path, is_true("ContainersReady"))
    assert not is_true("Ready")(await api.get(path))
    patched = {"type": "k8s.io/test-condition1", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    await api.patch(f"{path}/status", {"status": {"conditions": [patched]}}, STRATEGIC)
    await api.until(path, is_true("Ready"))


async def test_resources_are_resized_through_their_own_door(api: Api, namespace: str) -> None:
    amount = {"requests": {"cpu": "10m", "memory": "20Mi"}, "limits": {"cpu": "20m", "memory": "20Mi"}}
    path, pod = await run(api, namespace, containers=[{**CONTAINER, "resources": amount}])
    assert (pod["metadata"]["generation"], pod["status"]["qosClass"]) == (1, "Burstable")
    more = {"spec": {"containers": [{"name": "main", "resources": {"requests": {"cpu": "15m"}}}]}}
    assert (await api.send("PATCH", path, more, STRATEGIC)).code == 422
    resized = await api.patch(f"{path}/resize", {"metadata": {"labels": {"new": "yes"}}, **more}, STRATEGIC)
    assert "new" not in resized["metadata"]["labels"]
    assert resized["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "15m", "memory": "20Mi"}
    assert resized["metadata"]["generation"] == 2
    await api.until(path, lambda o: o["status"].get("observedGeneration") == 2)
    best_effort = {"spec": {"containers": [{"name": "main", "resources": {"requests": None, "limits": None}}]}}
    refused = await api.send("PATCH", f"{path}/resize", best_effort, STRATEGIC)
    assert (refused.code, "Pod QOS Class" in refused.body["message"]) == (422, True)


async def test_inline_volumes_of_drivers_are_words_of_a_pod(api: Api, namespace: str) -> None:
    volume = {"name": "inline", "csi": {"driver": "sample.example.com", "volumeAttributes": {"a": "b"}}}
    body = {"metadata": {"name": "csi", "labels": LABELS}, "spec": {"containers": [CONTAINER], "volumes": [volume]}}
    pods = core(namespace, "pods")
    assert (await api.create(pods, body))["spec"]["volumes"][0]["csi"]["driver"] == "sample.example.com"
    await api.patch(f"{pods}/csi", {"metadata": {"labels": {"patched": "yes"}}}, STRATEGIC)
    assert len((await api.get(f"{pods}?labelSelector=patched%3Dyes"))["items"]) == 1
    await api.delete(f"{pods}/csi?gracePeriodSeconds=0")
    await api.gone(f"{pods}/csi")


async def test_a_service_has_endpoints_in_both_forms(api: Api, namespace: str) -> None:
    services, slices = core(namespace, "services"), f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
    ports = [{"port": 80, "name": "a", "targetPort": 8080}]
    await api.create(services, {"metadata": {"name": "web"}, "spec": {"selector": LABELS, "ports": ports}})
    await api.until(f"{core(namespace, 'endpoints')}/web", lambda o: not o.get("subsets"))
    path, pod = await run(api, namespace)
    told = await api.until(f"{core(namespace, 'endpoints')}/web", lambda o: bool(o.get("subsets")))
    assert told["subsets"][0]["addresses"][0]["ip"] == pod["status"]["podIP"]
    async with api.watch(f"{slices}?labelSelector=kubernetes.io/service-name%3Dweb") as watch:
        shown = await watch.until(lambda _, o: bool(o["endpoints"]))
        assert (shown["endpoints"][0]["addresses"], shown["ports"][0]["port"]) == ([pod["status"]["podIP"]], 8080)
        assert (
            shown["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] == "endpointslice-controller.k8s.io"
        )
        await api.delete(f"{services}/web")
        await watch.until_type("DELETED")
    await api.gone(f"{core(namespace, 'endpoints')}/web")
    await api.delete(path)


async def test_endpoints_kept_by_hand_are_mirrored(api: Api, namespace: str) -> None:
    endpoints, port = core(namespace, "endpoints"), {"name": "example", "port": 80, "protocol": "TCP"}
    await api.create(core(namespace, "services"), {"metadata": {"name": "custom"}, "spec": {"ports": [port]}})
    body = {"metadata": {"name": "custom"}, "subsets": [{"ports": [{"port": 80}], "addresses": [{"ip": "10.1.2.3"}]}]}
    selected = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?labelSelector=kubernetes.io/service-name%3Dcustom"
    revision = (await api.get(selected))["metadata"]["resourceVersion"]
    async with api.watch(selected, revision) as watch:
        await api.create(endpoints, body)
        made = await watch.until_type("ADDED")
        assert [e["addresses"] for e in made["endpoints"]] == [["10.1.2.3"]]
        assert made["ports"] == [{"name": "", "port": 80, "protocol": "TCP"}]
        body["subsets"] = [{"ports": [{"port": 80}], "addresses": [{"ip": "10.2.3.4"}]}]
        await api.put(f"{endpoints}/custom", body)
        changed = await watch.until_type("MODIFIED")
        assert [e["addresses"] for e in changed["endpoints"]] == [["10.2.3.4"]]
        assert changed["metadata"]["name"] == made["metadata"]["name"]
        await api.delete(f"{endpoints}/custom")
        await watch.until_type("DELETED")


async def test_the_api_server_is_a_service(api: Api) -> None:
    service = await api.get("/api/v1/namespaces/default/services/kubernetes")
    assert [p["port"] for p in service["spec"]["ports"]] == [443]
    assert "kubernetes" in [s["metadata"]["name"] for s in (await api.get("/api/v1/services"))["items"]]
    endpoints = await api.get("/api/v1/namespaces/default/endpoints/kubernetes")
    slices = await api.get(
        "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io/service-name%3Dkubernetes"
    )
    ((shown,),) = [s["endpoints"] for s in slices["items"]]
    assert shown["addresses"] == [endpoints["subsets"][0]["addresses"][0]["ip"]]


async def test_a_node_is_an_object_like_others(api: Api, namespace: str) -> None:
    name = f"fake-{namespace}"
    await api.create("/api/v1/nodes", {"metadata": {"name": name}, "spec": {"unschedulable": True}})
    await api.patch(f"/api/v1/nodes/{name}", {"metadata": {"labels": {name: "patched"}}}, STRATEGIC)
    assert len((await api.get(f"/api/v1/nodes?labelSelector={name}%3Dpatched"))["items"]) == 1
    refused = await api.send("DELETE", f"/api/v1/nodes/{name}")
    assert refused.code == 200
    await api.gone(f"/api/v1/nodes/{name}")


async def test_addresses_of_services_are_objects(api: Api, namespace: str) -> None:
    addresses, ranges = "/apis/networking.k8s.io/v1/ipaddresses", "/apis/networking.k8s.io/v1/servicecidrs"
    services = core(namespace, "services")
    default = await api.until(f"{ranges}/kubernetes", is_true("Ready"))
    assert default["spec"]["cidrs"] == ["10.96.0.0/16"]
    assert (await api.patch(f"{ranges}/kubernetes", {"metadata": {"annotations": {"a": "b"}}}))["metadata"][
        "annotations"
    ]
    refused = await api.send("PATCH", f"{ranges}/kubernetes", {"spec": {"cidrs": ["10.97.0.0/16"]}}, MERGE)
    assert (refused.code, "field is immutable" in refused.body["message"]) == (422, True)

    made = await api.create(services, {"metadata": {"name": "one"}, "spec": {"ports": [{"port": 80}]}})
    ip = made["spec"]["clusterIP"]
    told = await api.get(f"{addresses}/{ip}")
    assert told["spec"]["parentRef"] == {"resource": "services", "namespace": namespace, "name": "one"}
    await api.delete(f"{services}/one")
    assert (await api.send("GET", f"{addresses}/{ip}")).code == 404

    parent = {"group": "mygroup", "resource": "myresources", "namespace": "foo", "name": "bar"}
    await api.create(addresses, {"metadata": {"name": "10.96.77.7"}, "spec": {"parentRef": parent}})
    spec = {"clusterIP": "10.96.77.7", "ports": [{"port": 80}]}
    refused = await api.send("POST", services, {"metadata": {"name": "two"}, "spec": spec})
    assert (refused.code, "already allocated" in refused.body["message"]) == (422, True)
    refused = await api.send("POST", addresses, {"metadata": {"name": "10.096.0.1"}, "spec": {"parentRef": parent}})
    assert refused.code == 422
    await api.delete(f"{addresses}/10.96.77.7")


async def test_a_cluster_can_get_more_addresses(api: Api, namespace: str) -> None:
    ranges, services = "/apis/networking.k8s.io/v1/servicecidrs", core(namespace, "services")
    await api.create(ranges, {"metadata": {"name": namespace}, "spec": {"cidrs": ["10.196.196.0/24"]}})
    await api.until(f"{ranges}/{namespace}", is_true("Ready"))
    spec = {"clusterIP": "10.196.196.77", "ports": [{"port": 80}]}
    await api.create(services, {"metadata": {"name": "one"}, "spec": spec})
    await api.delete(f"{ranges}/{namespace}")
    held = await api.until(f"{ranges}/{namespace}", lambda o: o["status"]["conditions"][0]["status"] == "False")
    assert held["status"]["conditions"][0]["reason"] == "Terminating"
    await api.delete(f"{services}/one")
    await api.gone(f"{ranges}/{namespace}")
