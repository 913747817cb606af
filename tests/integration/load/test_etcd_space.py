"""etcd's quota is used up: writes are refused in etcd's words, reads go on, and an operator ends it.

https://etcd.io/docs/v3.4/op-guide/maintenance/#space-quota
"""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from machinery.testing import ControlPlane, control_plane

from .conftest import session

PATH = "/api/v1/namespaces/default/configmaps"
QUOTA = 16 << 20
LARGE = "x" * 900_000
Gateway = Callable[..., Awaitable[dict[str, Any]]]


@asynccontextmanager
async def gateway(plane: ControlPlane) -> AsyncIterator[Gateway]:
    """etcd's maintenance, as JSON."""
    own = plane.pki / "apiserver"
    tls = ssl.create_default_context(cafile=str(own / "ca.crt"))
    tls.load_cert_chain(own / "tls.crt", own / "tls.key")
    async with aiohttp.ClientSession(base_url=plane.etcd, connector=aiohttp.TCPConnector(ssl=tls)) as etcd:

        async def call(path: str, **body: Any) -> dict[str, Any]:
            async with etcd.post(f"/v3/{path}", json=body) as answer:
                told: dict[str, Any] = await answer.json()
                assert answer.status == 200, told
                return told

        yield call


async def create(rest: aiohttp.ClientSession, name: str) -> tuple[int, dict[str, Any]]:
    async with rest.post(PATH, json={"metadata": {"name": name}, "data": {"k": LARGE}}) as answer:
        return answer.status, await answer.json()


async def make_room(etcd: Gateway) -> None:
    """What an operator does: forget, give the space back, end the alarm."""
    (alarm,) = (await etcd("maintenance/alarm", action="GET"))["alarms"]
    assert alarm["alarm"] == "NOSPACE"
    now = (await etcd("kv/range", key="AA=="))["header"]["revision"]
    await etcd("kv/compaction", revision=now, physical=True)
    await etcd("maintenance/defragment")
    await etcd("maintenance/alarm", action="DEACTIVATE", **alarm)


async def test_writes_are_refused_and_reads_go_on_until_an_operator_has_made_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETCD_QUOTA_BACKEND_BYTES", str(QUOTA))
    async with control_plane(tmp_path) as plane, session(plane) as rest, gateway(plane) as etcd:
        made = 0
        while (answer := await create(rest, f"c{made}"))[0] == 201:
            made += 1
        assert 5 < made < 50
        assert answer[1]["message"] == "etcdserver: mvcc: database space exceeded"
        assert answer[1]["code"] == answer[0] == 500
        assert "reason" not in answer[1]
        async with rest.get(PATH) as listed:
            assert {item["metadata"]["name"] for item in (await listed.json())["items"]} >= {
                f"c{n}" for n in range(made)
            }
        for number in range(made):
            async with rest.delete(f"{PATH}/c{number}") as deleted:
                assert deleted.status == 200
        assert (await create(rest, "later"))[0] >= 500, "room alone does not end the alarm"
        await make_room(etcd)
        assert (await create(rest, "later"))[0] == 201
