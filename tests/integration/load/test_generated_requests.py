"""Thousands of requests that nobody would think of: each is answered, in time, by what the documents promise."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from machinery.testing import ControlPlane

from .requests import SPACE, Made, made

AT_ONCE = 8
SLOWEST = 10.0
Finding = tuple[Made, int, str]


async def prepare(rest: aiohttp.ClientSession) -> dict[str, dict[str, Any]]:
    """A namespace to work in; the OpenAPI document of each group."""
    for path, obj in (
        ("namespaces", {"metadata": {"name": SPACE}}),
        (f"namespaces/{SPACE}/serviceaccounts", {"metadata": {"name": "default"}}),
    ):
        async with rest.post(f"/api/v1/{path}", json=obj) as answer:
            assert answer.status in (201, 409)
    async with rest.get("/openapi/v3") as answer:
        paths = (await answer.json())["paths"]
    found = {}
    for name, entry in paths.items():
        async with rest.get(URL(entry["serverRelativeURL"], encoded=True)) as answer:
            document = json.loads(await answer.read())
        if name.count("/") >= 1 and "components" in document:
            found[name] = document
    return found


async def send(rest: aiohttp.ClientSession, request: Made) -> Finding | None:
    """What is wrong with the answer."""
    headers = {"Content-Type": request.media} if request.media else {}
    url = URL(request.path, encoded=True).with_query(request.query)
    began = time.monotonic()
    try:
        async with rest.request(request.method, url, data=request.body, headers=headers) as answer:
            content = await answer.read()
            status, media = answer.status, answer.headers.get("Content-Type", "")
    except (aiohttp.ClientError, TimeoutError) as e:
        return request, 0, repr(e)
    if status >= 500 or time.monotonic() - began > SLOWEST:
        return request, status, content.decode(errors="replace")[:500]
    return _misfit(request, status, media, content)


def _misfit(request: Made, status: int, media: str, content: bytes) -> Finding | None:
    if status == 404 and content.startswith(b"404 page not found"):
        return None
    if "watch" in request.query and not content:
        return None
    try:
        documents = [json.loads(line) for line in content.splitlines() or [b""]]
    except ValueError:
        return request, status, f"{media}: {content[:200]!r}"
    for document in documents:
        if not isinstance(document, dict) or not (document.get("kind") or document.get("type")):
            return request, status, f"no object: {content[:200]!r}"
        if status >= 400 and (document["kind"], document.get("code"), document["status"]) != (
            "Status",
            status,
            "Failure",
        ):
            return request, status, f"no Status of {status}: {content[:200]!r}"
    return None


async def press(plane: ControlPlane, rest: aiohttp.ClientSession, log: Path, total: int, size: tuple[int, int]) -> None:
    documents = await prepare(rest)
    sent, findings, number = 0, [], 0
    names = sorted(documents)
    while sent < total:
        document = documents[names[number % len(names)]]
        batch = await asyncio.to_thread(lambda d=document, n=number: list(made(d, n, *size)))
        number += 1
        room = asyncio.Semaphore(AT_ONCE)

        async def one(request: Made, room: asyncio.Semaphore = room) -> Finding | None:
            async with room:
                return await send(rest, request)

        findings += [f for f in await asyncio.gather(*map(one, batch)) if f is not None]
        sent += len(batch)
    told = [
        f"{f[1]} {f[2]}\n    {f[0].method} {f[0].path} {f[0].query} {f[0].media} {f[0].body[:1500]!r}" for f in findings
    ]
    assert not findings, f"{len(findings)} of {sent} answers are wrong:\n" + "\n".join(told[:40])
    assert "Traceback" not in await asyncio.to_thread(log.read_text)
    async with rest.get(f"/api/v1/namespaces/{SPACE}") as answer:
        assert answer.status == 200


async def test_fifteen_hundred_generated_requests_are_answered(
    plane: ControlPlane, rest: aiohttp.ClientSession, tmp_path: Path
) -> None:
    await press(plane, rest, tmp_path / "apiserver.log", 1500, (8, 3))


@pytest.mark.long
async def test_twenty_thousand_generated_requests_are_answered(
    plane: ControlPlane, rest: aiohttp.ClientSession, tmp_path: Path
) -> None:
    await press(plane, rest, tmp_path / "apiserver.log", 20_000, (16, 8))
