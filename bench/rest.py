"""A small client of the Kubernetes REST API: what is measured is what any client would see."""

import asyncio
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import aiohttp
import msgspec

from machinery import kubeconfigs

Object = dict[str, Any]


class Rest:
    def __init__(self, session: aiohttp.ClientSession, server: str, context: ssl.SSLContext) -> None:
        self.session = session
        self._server = urlsplit(server)
        self._context = context

    async def open(self, protocol: asyncio.Protocol) -> None:
        """A connection of the protocol's own."""
        host, port = self._server.hostname or "", self._server.port or 443
        await asyncio.get_running_loop().create_connection(
            lambda: protocol, host, port, ssl=self._context, server_hostname=host
        )

    def head(self, path: str) -> bytes:
        """A GET request, for such a connection."""
        return f"GET {path} HTTP/1.1\r\nHost: {self._server.netloc}\r\n\r\n".encode()

    async def request(self, method: str, path: str, body: Object | None = None, *, type_: str = "json") -> Object:
        """The answer's document.  Raises RuntimeError on any refusal."""
        data = msgspec.json.encode(body) if body is not None else None
        headers = {"Content-Type": "application/json" if type_ == "json" else f"application/{type_}+json"}
        async with self.session.request(method, path, data=data, headers=headers if data else None) as answer:
            content = await answer.read()
            if answer.status >= 300:
                raise RuntimeError(f"{method} {path}: {answer.status} {content[:300]!r}")
            return msgspec.json.decode(content)  # type: ignore[no-any-return]

    async def watch(self, path: str, resource_version: str) -> AsyncIterator[Object]:
        url = f"{path}?watch=1&resourceVersion={resource_version}"
        async with self.session.get(url) as answer:
            answer.raise_for_status()
            rest = b""
            async for chunk in answer.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield msgspec.json.decode(line)

    async def until(self, path: str, holds: Callable[[dict[str, Object]], bool], timeout: float = 300) -> float:
        """Watch a collection until `holds` says yes of its objects by name; when that was."""
        listing = await self.request("GET", path)
        items = {i["metadata"]["name"]: i for i in listing["items"]}
        if holds(items):
            return time.monotonic()
        async with asyncio.timeout(timeout):
            async for event in self.watch(path, listing["metadata"]["resourceVersion"]):
                name = event["object"]["metadata"].get("name")
                if event["type"] == "DELETED":
                    items.pop(name, None)
                elif event["type"] in ("ADDED", "MODIFIED"):
                    items[name] = event["object"]
                if holds(items):
                    return time.monotonic()
        raise RuntimeError(f"the watch of {path} ended too early")


@asynccontextmanager
async def connected(kubeconfig: Path) -> AsyncIterator[Rest]:
    access = kubeconfigs.load(kubeconfig)
    context = ssl.create_default_context(cadata=access.ca.decode())
    with tempfile.NamedTemporaryFile() as pair:  # the ssl module reads key pairs from files only
        pair.write(access.certificate + access.key)
        pair.flush()
        context.load_cert_chain(pair.name)
    async with aiohttp.ClientSession(
        base_url=access.server, connector=aiohttp.TCPConnector(ssl=context, limit=0),
        timeout=aiohttp.ClientTimeout(total=None),
    ) as session:  # fmt: skip
        yield Rest(session, access.server, context)


@asynccontextmanager
async def namespace(rest: Rest) -> AsyncIterator[str]:
    """A namespace of one's own, in which pods can be created."""
    name = f"bench-{uuid4().hex[:6]}"
    await rest.request(
        "POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    )
    await rest.until(f"/api/v1/namespaces/{name}/serviceaccounts", lambda items: "default" in items, 30)
    try:
        yield name
    finally:
        await rest.request("DELETE", f"/api/v1/namespaces/{name}")
        await rest.until("/api/v1/namespaces", lambda items: name not in items)
