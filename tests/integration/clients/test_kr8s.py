"""https://github.com/kr8s-org/kr8s"""

import asyncio
import socket

import kr8s
import pytest
from kr8s.asyncio import api as async_api
from kr8s.asyncio.objects import Deployment as AsyncDeployment
from kr8s.objects import ConfigMap, Deployment, Pod, new_class, object_from_spec

from .clusters import Cluster

CONTAINER = {"name": "c", "image": "busybox", "command": ["sleep", "1000"]}


@pytest.fixture
def api(running: Cluster, namespace: str) -> kr8s.Api:
    return kr8s.api(kubeconfig=str(running.kubeconfig), namespace=namespace)


def config_map(api: kr8s.Api, name: str, **data: str) -> ConfigMap:
    body = {"metadata": {"name": name, "namespace": api.namespace, "labels": {"app": name}}, "data": data}
    return ConfigMap(body, api=api)


def deployment(name: str, namespace: str) -> dict[str, object]:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [CONTAINER]}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


def test_the_server_is_known(api: kr8s.Api) -> None:
    assert api.version()["major"] == "1"
    assert api.whoami() == "kubernetes-admin"
    by_name = {r["name"]: r for r in api.api_resources()}
    assert by_name["deployments"]["shortNames"] == ["deploy"]
    assert "v1" in list(api.api_versions())


def test_objects_from_creation_to_deletion(api: kr8s.Api) -> None:
    one = config_map(api, "one", a="1")
    one.create()
    config_map(api, "two").create()
    one.patch({"data": {"b": "2"}})
    assert one.raw["data"] == {"a": "1", "b": "2"}
    one.label({"x": "y"})
    one.annotate({"note": "words"})
    one.remove_label("app")
    assert one.labels == {"x": "y"}
    assert [c.name for c in api.get("configmaps", label_selector={"app": "two"})] == ["two"]
    assert [c.name for c in api.get("cm", field_selector={"metadata.name": "one"})] == ["one"]
    assert one.exists()
    one.delete()
    one.wait("delete", timeout=30)
    assert not one.exists()
    with pytest.raises(kr8s.NotFoundError):
        one.refresh()
    with pytest.raises(kr8s.ServerError, match="already exists"):
        config_map(api, "two").create()


def test_a_deployment_is_scaled_and_waited_for(api: kr8s.Api) -> None:
    made = Deployment(deployment("d", api.namespace), api=api)
    made.create()
    made.wait("condition=Available", timeout=20)
    made.scale(2)
    while not made.ready():
        made.refresh()
    assert len(made.pods()) == 2
    assert made.replicas == 2
    made.delete(propagation_policy="Foreground")


def test_watches(api: kr8s.Api) -> None:
    made = config_map(api, "w")
    made.create()
    seen = []
    for event, found in api.watch("configmaps", field_selector={"metadata.name": "w"}):
        seen.append((event, found.name))
        if event == "ADDED":
            made.patch({"data": {"a": "b"}})
        if event == "MODIFIED":
            made.delete()
        if event == "DELETED":
            break
    assert seen == [("ADDED", "w"), ("MODIFIED", "w"), ("DELETED", "w")]


def test_exec_logs_and_forwarded_ports(api: kr8s.Api, pod: str, echo_port: int) -> None:
    running = Pod.get(pod, namespace=api.namespace, api=api)
    assert running.ready()
    assert list(running.logs()) == ["hello"]
    ended = running.exec(["echo", "hi"])
    assert (ended.returncode, ended.stdout) == (0, b"hi\n")
    assert running.exec(["sh", "-c", "exit 4"], check=False).returncode != 0
    with (
        running.portforward(echo_port, local_port="auto") as local,
        socket.create_connection(("127.0.0.1", local), timeout=5) as connection,
    ):
        connection.sendall(b"one\n")
        assert connection.recv(100) == b"echo one\n"


def test_any_kind_from_its_document(api: kr8s.Api) -> None:
    body = {"apiVersion": "batch/v1", "kind": "CronJob"} | {
        "metadata": {"name": "cron", "namespace": api.namespace},
        "spec": {
            "schedule": "0 0 1 1 *",
            "jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [CONTAINER]}}}},
        },
    }
    object_from_spec(body, api=api).create()
    assert [c.name for c in api.get("cronjobs.batch")] == ["cron"]


async def test_it_all_without_waiting(running: Cluster, namespace: str) -> None:
    api = await async_api(kubeconfig=str(running.kubeconfig), namespace=namespace)
    made = await AsyncDeployment(deployment("d", namespace), api=api)
    await made.create()
    async with asyncio.timeout(20):
        await made.wait("condition=Available")
    assert [p.status.phase async for p in api.get("pods", label_selector="app=d")] == ["Running"]
    await made.delete()


CRD = {
    "metadata": {"name": "shirts.kr8s.example.com"},
    "spec": {
        "group": "kr8s.example.com",
        "names": {"kind": "Shirt", "plural": "shirts", "singular": "shirt"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1", "served": True, "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}  # fmt: skip


def test_a_custom_kind(api: kr8s.Api) -> None:
    definition = object_from_spec(
        {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"} | CRD, api=api
    )
    definition.create()
    definition.wait("condition=Established", timeout=30)
    shirts = new_class("Shirt", "kr8s.example.com/v1")
    made = shirts({"metadata": {"name": "s", "namespace": api.namespace}, "spec": {"colour": "blue"}}, api=api)
    made.create()
    assert [s.spec.colour for s in api.get("shirts.kr8s.example.com")] == ["blue"]
    made.delete()
    definition.delete()
