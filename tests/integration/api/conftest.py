"""A real etcd and API server for the whole session, and a client that says exactly what a test wants to say."""

import io
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import aiohttp
import pytest
import pytest_asyncio
from yarl import URL

from machinery.testing import ControlPlane, control_plane


class Answer(NamedTuple):
    code: int
    body: Any
    """Decoded JSON, or the text."""
    warnings: list[str]


Send = Callable[..., Awaitable[Answer]]
"""(method, path and query as they are, body, content type, other headers) → answer"""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def plane(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ControlPlane]:
    async with control_plane(tmp_path_factory.mktemp("plane")) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def session(plane: ControlPlane) -> AsyncIterator[aiohttp.ClientSession]:
    """The administrator's way to the REST door."""
    own = plane.pki / "admin"
    tls = ssl.create_default_context(cafile=str(own / "ca.crt"))
    tls.load_cert_chain(own / "tls.crt", own / "tls.key")
    async with aiohttp.ClientSession(
        base_url=plane.rest, connector=aiohttp.TCPConnector(ssl=tls), timeout=aiohttp.ClientTimeout(10)
    ) as opened:
        yield opened


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def send(plane: ControlPlane, session: aiohttp.ClientSession) -> Send:
    async def say(method: str, path: str, body: Any = None, media: str = "application/json", **headers: str) -> Answer:
        data = json.dumps(body).encode() if isinstance(body, dict | list) else body
        data = io.BytesIO(data) if isinstance(data, bytes) else data
        sent = {"Content-Type": media, **headers} if media else headers
        url = URL(plane.rest + path, encoded=True)
        async with session.request(method, url, data=data, headers=sent) as response:
            text = await response.text()
            as_json = response.headers.get("Content-Type", "").startswith("application/json")
            as_json = as_json and "watch=true" not in path
            return Answer(
                response.status, json.loads(text) if as_json else text, response.headers.getall("Warning", [])
            )

    await say("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    return say
