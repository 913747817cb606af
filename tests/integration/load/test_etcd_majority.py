"""Two of three etcd members fall silent: what an API server then promises, and that it needs nobody when they return."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from machinery.testing import ControlPlane, apiserver, free_port, process, write_certificates

from .conftest import session

PATH = "/api/v1/namespaces/default/configmaps"


@asynccontextmanager
async def three_members(directory: Path) -> AsyncIterator[tuple[ControlPlane, list[int]]]:
    """An API server, and the process ids of its etcd members."""
    pki = directory / "pki"
    write_certificates(pki)
    ports = {f"m{n}": (free_port(), free_port()) for n in range(3)}
    cluster = ",".join(f"{name}=https://127.0.0.1:{peer}" for name, (_, peer) in ports.items())
    tls = [
        f"--{prefix}{name}={pki / 'etcd' / file}"
        for prefix in ("", "peer-")
        for name, file in (("cert-file", "tls.crt"), ("key-file", "tls.key"), ("trusted-ca-file", "ca.crt"))
    ]
    binary = shutil.which("etcd")
    assert binary, "etcd is needed (Debian's package etcd-server)"
    async with AsyncExitStack() as stack:
        pids = []
        for name, (client, peer) in ports.items():
            urls = f"https://127.0.0.1:{client}", f"https://127.0.0.1:{peer}"
            member = process(
                binary, "--name", name, "--data-dir", str(directory / name), "--initial-cluster", cluster,
                "--listen-client-urls", urls[0], "--advertise-client-urls", urls[0], "--listen-peer-urls", urls[1],
                "--initial-advertise-peer-urls", urls[1], "--client-cert-auth", "--peer-client-cert-auth",
                "--log-level", "warn", *tls, log=directory / f"{name}.log",
            )  # fmt: skip
            pids.append((await stack.enter_async_context(member)).pid)
        servers = ",".join(f"https://127.0.0.1:{client}" for client, _ in ports.values())
        yield await stack.enter_async_context(apiserver(directory, pki, servers)), pids


async def ask(rest: aiohttp.ClientSession, method: str, path: str, **more: Any) -> tuple[int, dict[str, Any]]:
    async with rest.request(method, path, **more) as answer:
        return answer.status, await answer.json()


async def page(rest: aiohttp.ClientSession, path: str) -> int:
    async with rest.get(path) as answer:
        return answer.status


async def test_without_a_majority_nothing_is_acknowledged_and_the_cache_still_answers(tmp_path: Path) -> None:
    def body(name: str) -> dict[str, Any]:
        return {"metadata": {"name": name}, "data": {"k": "v"}}

    async with three_members(tmp_path) as (plane, pids), session(plane) as rest:
        assert (await ask(rest, "POST", PATH, json=body("before")))[0] == 201
        _, listed = await ask(rest, "GET", PATH)
        since = listed["metadata"]["resourceVersion"]
        async with rest.get(f"{PATH}?watch=1&resourceVersion={since}") as watch:
            for pid in pids[:2]:
                os.kill(pid, signal.SIGSTOP)
            try:
                code, refused = await ask(rest, "POST", PATH, json=body("meanwhile"))
                assert code >= 500
                assert (refused["kind"], refused["status"], refused["code"]) == ("Status", "Failure", code)
                code, refused = await ask(rest, "GET", PATH)
                assert (code >= 500, refused["kind"]) == (True, "Status"), "it cannot know whether this is the latest"
                code, found = await ask(rest, "GET", f"{PATH}?resourceVersion=0")
                assert (code, [o["metadata"]["name"] for o in found["items"]]) == (200, ["before"]), "any state will do"
                assert int(found["metadata"]["resourceVersion"]) >= int(since)  # a young server writes some things late
                assert await page(rest, "/livez") == 200
            finally:
                for pid in pids[:2]:
                    os.kill(pid, signal.SIGCONT)
            async with asyncio.timeout(30):
                while (answer := await ask(rest, "POST", PATH, json=body("after")))[0] >= 500:
                    pass  # each waits for etcd by itself
            assert answer[0] in (201, 409)  # an attempt without an answer may have been done
            told = [line async for line in _until(watch, b'"after"')]
        _, now = await ask(rest, "GET", PATH)
        names = {item["metadata"]["name"] for item in now["items"]}
        assert {"before", "after"} <= names
        assert any(b'"meanwhile"' in line for line in told) == ("meanwhile" in names)


async def _until(watch: aiohttp.ClientResponse, last: bytes) -> AsyncIterator[bytes]:
    async for line in watch.content:
        yield line
        if last in line:
            return
