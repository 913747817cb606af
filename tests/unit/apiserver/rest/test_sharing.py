"""Large answers are made once for all who are told the same."""

import asyncio
import gc
import gzip
import json

import pytest

from apiserver.rest import responses, sharing
from apiserver.rest.sharing import Sharing
from machinery.testing import settle

TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
COUNT = 250


async def test_what_is_asked_for_at_the_same_time_is_made_once() -> None:
    made, go = [], asyncio.Event()
    shared = Sharing()

    async def make() -> bytes:
        made.append(1)
        await go.wait()
        return b"x"

    await _ask_thrice(shared, make, go)
    assert len(made) == 1
    await settle()
    gc.collect()
    await shared.body("key", make)
    assert len(made) == 2  # what nobody is being sent is not kept


async def _ask_thrice(shared: Sharing, make, go: asyncio.Event) -> None:
    asking = [asyncio.create_task(shared.body("key", make)) for _ in range(3)]
    await asyncio.sleep(0)
    asking[0].cancel()
    go.set()
    bodies = [*[await each for each in asking[1:]], await shared.body("key", make)]
    assert len({id(body) for body in bodies}) == 1


async def test_who_waits_is_told_why_it_could_not_be_made() -> None:
    async def make() -> bytes:
        raise ValueError("no")

    shared = Sharing()
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            await shared.body("key", make)


@pytest.fixture
def many(registry):
    for n in range(COUNT):
        registry.add("configmaps", {"kind": "ConfigMap", "metadata": {"name": f"c{n}"}, "data": {"x": "y" * 5000}})
    return registry


@pytest.mark.parametrize(
    "accept", [TABLE, {"Accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"}]
)
@pytest.mark.parametrize("encoding", ["gzip", "identity"])
async def test_a_large_list_in_another_form_arrives_whole(rest, many, accept, encoding, monkeypatch) -> None:
    headers = {**accept, "Accept-Encoding": encoding}
    monkeypatch.setattr(responses, "GZIP_ABOVE", 1000)
    async with rest.get("/api/v1/configmaps", headers=headers) as answer:
        assert answer.headers.get("Content-Encoding", "identity") == encoding
        body = await answer.read()
        found = json.loads(gzip.decompress(body) if encoding == "gzip" else body)
    assert len(found.get("rows") or found["items"]) == COUNT


async def test_who_does_not_read_a_large_list_is_cut_off(rest, many, monkeypatch) -> None:
    monkeypatch.setattr(sharing, "SLOWEST", 0.05)
    for n in range(40):
        many.add("configmaps", {"kind": "ConfigMap", "metadata": {"name": f"l{n}"}, "data": {"x": "y" * 500_000}})
    lost = asyncio.get_running_loop().create_future()

    class Silent(asyncio.Protocol):
        """Reads nothing until the other side has reset the connection, which a write finds out."""

        def connection_made(self, transport) -> None:
            transport.pause_reading()

        def connection_lost(self, exc) -> None:
            lost.set_result(exc)

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(Silent, rest._base_url.host, rest._base_url.port)
    path = "/api/v1/configmaps?includeObject=Object"
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nAccept: {TABLE['Accept']}\r\n\r\n"
    transport.write(head.encode())
    async with asyncio.timeout(10):
        while not transport.is_closing():
            transport.write(b" ")
            await settle()
        assert isinstance(await lost, ConnectionError)
