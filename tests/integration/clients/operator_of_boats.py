"""An operator as kopf's users write them, run by `kopf run`: it builds a ConfigMap for every Boat."""

import asyncio
from typing import Any

import kopf
from kubernetes_asyncio import client, config

KIND = ("kopf.example.com", "v1", "boats")


@kopf.on.startup()
async def begin(settings: kopf.OperatorSettings, **_: Any) -> None:
    settings.persistence.finalizer = "kopf.example.com/finalizer"
    settings.posting.enabled = True
    await config.load_kube_config()


@kopf.on.create(*KIND)
async def build(spec: kopf.Spec, name: str, namespace: str, body: kopf.Body, **_: Any) -> dict[str, Any]:
    crew: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{name}-crew"},
        "data": {"sails": str(spec["sails"])},
    }
    kopf.adopt(crew, owner=body)
    async with client.ApiClient() as api:
        await client.CoreV1Api(api).create_namespaced_config_map(namespace, crew)
    kopf.info(body, reason="Built", message=f"{name} is ready to sail")
    return {"sails": spec["sails"]}


@kopf.on.update(*KIND, field="spec.sails")
async def rebuild(old: Any, new: Any, name: str, namespace: str, patch: kopf.Patch, **_: Any) -> None:
    async with client.ApiClient() as api:
        change = {"data": {"sails": str(new)}}
        await client.CoreV1Api(api).patch_namespaced_config_map(f"{name}-crew", namespace, change)
    patch.status["before"] = old


@kopf.on.resume(*KIND)
async def resume(patch: kopf.Patch, **_: Any) -> None:
    patch.status["resumed"] = True


@kopf.timer(*KIND, interval=0.5)
async def tick(status: kopf.Status, patch: kopf.Patch, **_: Any) -> None:
    if status.get("ticks", 0) < 2:
        patch.status["ticks"] = status.get("ticks", 0) + 1


@kopf.daemon(*KIND)
async def float_(stopped: kopf.DaemonStopped, **_: Any) -> None:
    while not stopped:
        await stopped.wait(10)


@kopf.on.delete(*KIND)
async def sink(name: str, namespace: str, **_: Any) -> None:
    await asyncio.sleep(0)
    async with client.ApiClient() as api:
        note = {"metadata": {"name": f"{name}-sunk"}}
        await client.CoreV1Api(api).create_namespaced_config_map(namespace, note)
