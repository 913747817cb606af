"""Two API servers for the whole session, one left alone and one with controllers, and a client that watches."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
import pytest
import pytest_asyncio
from yarl import URL

from machinery.testing import ControlPlane, control_plane
from tests.integration.processes import workers

MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
JSON_PATCH, APPLY = "application/json-patch+json", "application/apply-patch+yaml"
PATIENCE = 60.0


class Answer(NamedTuple):
    code: int
    body: Any
    """Decoded JSON, or the text."""
    warnings: list[str]

    def ok(self) -> Any:
        assert self.code in (200, 201, 202), self.body
        return self.body


class Api:
    """REST, as a client of Kubernetes speaks it."""

    def __init__(self, session: aiohttp.ClientSession, server: str) -> None:
        self._session = session
        self._server = server

    async def send(
        self, method: str, path: str, body: Any = None, media: str = "application/json", **headers: str
    ) -> Answer:
        data = json.dumps(body).encode() if isinstance(body, dict | list) else body
        sent = {"Content-Type": media, **headers} if data is not None else headers
        url = URL(self._server + path, encoded=True)
        async with self._session.request(method, url, data=data, headers=sent) as response:
            text = await response.text(errors="replace")
            as_json = response.headers.get("Content-Type", "").startswith("application/json")
            return Answer(
                response.status, json.loads(text) if as_json else text, response.headers.getall("Warning", [])
            )

    async def get(self, path: str) -> Any:
        return (await self.send("GET", path)).ok()

    async def create(self, path: str, body: Any) -> Any:
        return (await self.send("POST", path, body)).ok()

    async def put(self, path: str, body: Any) -> Any:
        return (await self.send("PUT", path, body)).ok()

    async def patch(self, path: str, body: Any, media: str = MERGE) -> Any:
        return (await self.send("PATCH", path, body, media)).ok()

    async def delete(self, path: str, options: Any = None) -> Any:
        return (await self.send("DELETE", path, options)).ok()

    async def read(self, path: str, accept: str) -> bytes:
        """The answer as it is."""
        async with self._session.get(URL(self._server + path, encoded=True), headers={"Accept": accept}) as response:
            assert response.status == 200, await response.text()
            return await response.read()

    @asynccontextmanager
    async def watch(self, path: str, revision: str = "") -> AsyncIterator["Watch"]:
        mark = "&" if "?" in path else "?"
        url = URL(f"{self._server}{path}{mark}watch=true&resourceVersion={revision}", encoded=True)
        async with self._session.get(url, timeout=aiohttp.ClientTimeout(None)) as response:
            assert response.status == 200, await response.text()
            yield Watch(response.content)

    async def until(self, path: str, condition: Callable[[Any], bool]) -> Any:
        """The object, as soon as it fulfils the condition: now, or after one of its changes."""
        collection, _, name = path.rpartition("/")
        async with asyncio.timeout(PATIENCE):
            async with self.watch(f"{collection}?fieldSelector=metadata.name%3D{name}") as watch:
                return await watch.until(lambda type_, obj: type_ != "DELETED" and condition(obj))

    async def gone(self, path: str) -> None:
        """Returns when there is no such object any more."""
        collection, _, name = path.rpartition("/")
        selected = f"{collection}?fieldSelector=metadata.name%3D{name}"
        listing = await self.get(selected)
        if listing["items"]:
            async with self.watch(selected, listing["metadata"]["resourceVersion"]) as watch:
                await watch.until(lambda type_, _: type_ == "DELETED")


class Watch:
    """The events of one watch, in their order."""

    def __init__(self, lines: aiohttp.StreamReader) -> None:
        self._lines = lines

    async def next(self) -> tuple[str, Any]:
        async with asyncio.timeout(PATIENCE):
            event = json.loads(await self._lines.readline())
        return event["type"], event["object"]

    async def until(self, condition: Callable[[str, Any], bool]) -> Any:
        """The object of the first event that fulfils the condition."""
        while True:
            type_, obj = await self.next()
            assert type_ != "ERROR", obj
            if condition(type_, obj):
                return obj

    async def until_type(self, wanted: str) -> Any:
        return await self.until(lambda type_, _: type_ == wanted)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def quiet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """An API server that nobody else writes to."""
    async with control_plane(tmp_path_factory.mktemp("quiet")) as plane, client_of(plane) as client:
        yield client


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def busy(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """One with the controllers, the scheduler, and a node whose containers are only told of."""
    place = tmp_path_factory.mktemp("busy")
    async with control_plane(place) as plane, client_of(plane) as client, workers(plane, place):
        yield client


@pytest.fixture
def api(quiet: Api) -> Api:
    """What a test speaks to; modules whose tests need controllers take the busy one in its place."""
    return quiet


@asynccontextmanager
async def client_of(plane: ControlPlane) -> AsyncIterator[Api]:
    own = plane.pki / "admin"
    tls = ssl.create_default_context(cafile=str(own / "ca.crt"))
    tls.load_cert_chain(own / "tls.crt", own / "tls.key")
    connector = aiohttp.TCPConnector(ssl=tls, limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(20)) as session:
        yield Api(session, plane.rest)


def is_true(condition: str) -> Callable[[Any], bool]:
    def holds(obj: Any) -> bool:
        return any(c["type"] == condition and c["status"] == "True" for c in obj["status"].get("conditions", []))

    return holds


@pytest_asyncio.fixture(loop_scope="session")
async def namespace(api: Api) -> str:
    """A namespace of the test's own."""
    made = await api.create("/api/v1/namespaces", {"metadata": {"generateName": "conformance-"}})
    name: str = made["metadata"]["name"]
    account = {"metadata": {"name": "default"}}
    await api.send("POST", f"/api/v1/namespaces/{name}/serviceaccounts", account)
    return name
