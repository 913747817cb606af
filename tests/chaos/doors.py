"""The two ways to the API's ConfigMaps, told alike: REST and gRPC, through the lab's balancer or to one API server."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Protocol

import aiohttp

from api import errors
from api.types import ConfigMap, ObjectMeta
from machinery import kubeconfigs
from machinery.client import Client, connect
from wherry import masters
from wherry.labs import Lab

SPACE = "chaos"
PATH = f"/api/v1/namespaces/{SPACE}/configmaps"
SELECTOR = "chaos=history"
LABELS = {"chaos": "history"}
"""Other ConfigMaps of the namespace, the cluster's own, are not of the history."""
PATIENCE = 15
"""Seconds after which a client gives a request up, and does not know what has become of it."""
REFUSALS = (errors.Conflict, errors.NotFound, errors.AlreadyExists)
"""Answers that say: this was not done, and will not be."""
UNANSWERED = (errors.ApiError, aiohttp.ClientError, TimeoutError, ValueError, OSError)
"""All else that may come in the place of an answer. It says nothing about what was done."""

Event = tuple[str, str, int]
"""Type, name ("" of a bookmark), revision."""


class Door(Protocol):
    """Writes tell the revision that they have made, raise one of REFUSALS, or else one of UNANSWERED."""

    async def list(self) -> tuple[int, dict[str, int]]:
        """The list's revision, and each object's."""

    async def put(self, name: str, token: str, expected: int) -> int:
        """Creates what is expected nowhere (0), replaces what is at `expected`."""

    async def delete(self, name: str, expected: int) -> None: ...

    def watch(self, since: int) -> AsyncIterator[Event]: ...


class Rest:
    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def list(self) -> tuple[int, dict[str, int]]:
        found = await self._call("GET", PATH, params={"labelSelector": SELECTOR})
        return _revision(found), {item["metadata"]["name"]: _revision(item) for item in found["items"]}

    async def put(self, name: str, token: str, expected: int) -> int:
        metadata = {"name": name, "labels": LABELS}
        if not expected:
            return _revision(await self._call("POST", PATH, json={"metadata": metadata, "data": {"token": token}}))
        body = {"metadata": {**metadata, "resourceVersion": str(expected)}, "data": {"token": token}}
        return _revision(await self._call("PUT", f"{PATH}/{name}", json=body))

    async def delete(self, name: str, expected: int) -> None:
        await self._call("DELETE", f"{PATH}/{name}", json={"preconditions": {"resourceVersion": str(expected)}})

    async def watch(self, since: int) -> AsyncIterator[Event]:
        asked = {
            "watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": "20", "labelSelector": SELECTOR,
            "resourceVersion": str(since),
        }  # fmt: skip
        async with self._session.get(PATH, params=asked, timeout=aiohttp.ClientTimeout(sock_read=30)) as answer:
            answer.raise_for_status()
            async for line in answer.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise errors.from_status(event["object"])
                obj = event["object"]
                yield event["type"], obj["metadata"].get("name", ""), _revision(obj)

    async def _call(self, method: str, path: str, **more: Any) -> Any:
        async with self._session.request(method, path, **more) as answer:
            told = await answer.json()
            if answer.status >= 300:
                raise errors.from_status(told)
            return told


class Grpc:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def list(self) -> tuple[int, dict[str, int]]:
        async with asyncio.timeout(PATIENCE):
            found = await self._client.list(ConfigMap, SPACE, label_selector=SELECTOR)
        return int(found.resource_version), {i.metadata.name: int(i.metadata.resourceVersion) for i in found.items}

    async def put(self, name: str, token: str, expected: int) -> int:
        metadata = ObjectMeta(name=name, namespace=SPACE, labels=LABELS, resourceVersion=str(expected or ""))
        obj = ConfigMap(metadata=metadata, data={"token": token})
        async with asyncio.timeout(PATIENCE):
            stored = await (self._client.update(obj) if expected else self._client.create(obj))
        return int(stored.metadata.resourceVersion)

    async def delete(self, name: str, expected: int) -> None:
        async with asyncio.timeout(PATIENCE):
            await self._client.delete(ConfigMap, name, SPACE, resource_version=str(expected))

    async def watch(self, since: int) -> AsyncIterator[Event]:
        async for batch in self._client.watch(
            ConfigMap, SPACE, resource_version=str(since), label_selector=SELECTOR
        ):  # fmt: skip
            for event in batch:
                metadata = event.object.metadata
                yield event.type, metadata.name, int(metadata.resourceVersion)


@asynccontextmanager
async def rest(lab: Lab, server: str = "") -> AsyncIterator[Rest]:
    """To that `server` only, and its connections end with it."""
    own = lab.pki / "admin"
    tls = ssl.create_default_context(cafile=str(own / "ca.crt"))
    tls.load_cert_chain(own / "tls.crt", own / "tls.key")
    async with aiohttp.ClientSession(
        base_url=f"https://{server_addresses(lab)[server]}:6443" if server else f"https://127.0.0.1:{lab.api_port}",
        connector=aiohttp.TCPConnector(ssl=tls),
        timeout=aiohttp.ClientTimeout(PATIENCE),
        middlewares=[_once],
    ) as session:
        yield Rest(session)


async def _once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """The library would send a PUT and a DELETE again when the connection is lost, and tell only of the second."""
    try:
        return await send(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as e:
        raise errors.Unavailable(str(e)) from e


@asynccontextmanager
async def grpc(lab: Lab, server: str = "") -> AsyncIterator[Grpc]:
    access = kubeconfigs.load(lab.grpc_kubeconfig)
    if server:
        access = replace(access, server=f"https://{server_addresses(lab)[server]}:6444")
    async with connect(access) as client:
        yield Grpc(client)


def server_addresses(lab: Lab) -> dict[str, str]:
    """Of each API server, in the lab's network."""
    first = masters.FIRST_ADDRESS["apiserver"]
    return {name: f"{lab.network}.{first + n}" for n, name in enumerate(masters.names("apiserver"))}


def _revision(obj: dict[str, Any]) -> int:
    return int(obj["metadata"]["resourceVersion"])
