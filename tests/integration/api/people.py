"""Somebody who talks to the REST door: with a certificate, a token, both or nothing."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from machinery.testing import ControlPlane


class Answer(NamedTuple):
    code: int
    body: Any
    headers: dict[str, str]


class Person:
    def __init__(self, session: aiohttp.ClientSession, server: str, headers: dict[str, str]) -> None:
        self._session, self._server, self._headers = session, server, headers

    async def __call__(
        self, method: str, path: str, body: Any = None, media: str = "application/json", **headers: str
    ) -> Answer:
        sent = {**self._headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if body is not None:
            sent["Content-Type"] = media
        async with self._session.request(method, self._server + path, json=body, headers=sent) as answer:
            as_json = "json" in answer.headers.get("Content-Type", "")
            return Answer(answer.status, await (answer.json() if as_json else answer.text()), dict(answer.headers))


@asynccontextmanager
async def person(
    plane: ControlPlane, component: str = "", *, token: str = "", pair: tuple[Path, Path] | None = None
) -> AsyncIterator[Person]:
    """`component` is a directory of the certificates, `pair` a certificate and its key."""
    tls = ssl.create_default_context(cafile=str(plane.pki / "admin" / "ca.crt"))
    if component:
        pair = plane.pki / component / "tls.crt", plane.pki / component / "tls.key"
    if pair is not None:
        tls.load_cert_chain(*pair)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session:
        yield Person(session, plane.rest, headers)
