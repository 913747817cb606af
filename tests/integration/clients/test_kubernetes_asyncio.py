"""https://github.com/tomplus/kubernetes_asyncio"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from kubernetes_asyncio import client, config, dynamic, utils, watch
from kubernetes_asyncio.client.rest import ApiException
from kubernetes_asyncio.stream import WsApiClient

from .clusters import Cluster


@pytest_asyncio.fixture
async def api(running: Cluster) -> AsyncIterator[client.ApiClient]:
    made = await config.new_client_from_config(str(running.kubeconfig))
    async with made:
        yield made


async def test_objects_from_creation_to_deletion(api: client.ApiClient, namespace: str) -> None:
    core = client.CoreV1Api(api)
    made = await core.create_namespaced_config_map(
        namespace, client.V1ConfigMap(metadata=client.V1ObjectMeta(name="c"), data={"a": "1"})
    )
    assert made.metadata.uid
    patched = await core.patch_namespaced_config_map("c", namespace, {"data": {"b": "2"}})
    assert patched.data == {"a": "1", "b": "2"}
    assert [c.metadata.name for c in (await core.list_namespaced_config_map(namespace, limit=1)).items] == ["c"]
    await core.delete_namespaced_config_map("c", namespace)
    with pytest.raises(ApiException) as gone:
        await core.read_namespaced_config_map("c", namespace)
    assert gone.value.status == 404


async def test_a_deployment_is_rolled_out(api: client.ApiClient, namespace: str) -> None:
    body: dict[str, Any] = {
        "metadata": {"name": "d"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "image": "busybox", "command": ["sleep", "1000"]}]},
            },
        },
    }
    apps = client.AppsV1Api(api)
    await apps.create_namespaced_deployment(namespace, body)
    async with watch.Watch() as watcher, asyncio.timeout(20):
        async for event in watcher.stream(apps.list_namespaced_deployment, namespace):
            if event["object"].status.available_replicas == 2:
                break
    assert len((await client.CoreV1Api(api).list_namespaced_pod(namespace, label_selector="a=b")).items) == 2


async def test_a_watch_goes_on_where_it_was(api: client.ApiClient, namespace: str) -> None:
    core = client.CoreV1Api(api)
    since = (await core.list_namespaced_config_map(namespace)).metadata.resource_version
    for name in ("x", "y"):
        await core.create_namespaced_config_map(namespace, client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name)))
    async with watch.Watch() as watcher:
        events = watcher.stream(core.list_namespaced_config_map, namespace, resource_version=since, timeout_seconds=1)
        seen = [(event["type"], event["object"].metadata.name) async for event in events]
    assert seen == [("ADDED", "x"), ("ADDED", "y")]


async def test_exec_over_a_websocket(running: Cluster, namespace: str, pod: str) -> None:
    settings = client.Configuration()
    await config.load_kube_config(str(running.kubeconfig), client_configuration=settings)
    async with WsApiClient(settings) as sockets:
        core = client.CoreV1Api(sockets)
        said = await core.connect_get_namespaced_pod_exec(
            pod, namespace, command=["echo", "hi"], stderr=True, stdin=False, stdout=True, tty=False
        )
        assert said == "hi\n"
        opened = await core.connect_get_namespaced_pod_exec(
            pod, namespace, command=["sh", "-c", "exit 5"], stderr=True, stdout=True, _preload_content=False
        )
        async with opened as socket:
            messages = [message.data async for message in socket]
        assert sockets.parse_error_data(messages[-1][1:].decode()) == 5


async def test_logs_are_followed(api: client.ApiClient, namespace: str, pod: str) -> None:
    core = client.CoreV1Api(api)
    answer = await core.read_namespaced_pod_log(pod, namespace, follow=True, _preload_content=False)
    async with asyncio.timeout(5):
        assert await answer.content.readline() == b"hello\n"
    answer.close()


async def test_the_dynamic_client_applies(api: client.ApiClient, namespace: str) -> None:
    made = await dynamic.DynamicClient(api)
    maps = await made.resources.get(api_version="v1", kind="ConfigMap")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "s"}, "data": {"a": "1"}}
    applied = await made.server_side_apply(maps, body=body, namespace=namespace, field_manager="me")
    assert applied.data.a == "1"
    assert (await maps.get(name="s", namespace=namespace)).metadata.managedFields[0].manager == "me"


async def test_a_document_is_created(api: client.ApiClient, namespace: str) -> None:
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "b"}}
    await utils.create_from_dict(api, body, namespace=namespace)
    assert (await client.CoreV1Api(api).read_namespaced_secret("s", namespace)).data == {"a": "Yg=="}
