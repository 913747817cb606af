"""Calls to real etcd servers: large ones, many at once, refused ones; and to whom they go when a member fails."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from api.errors import Timeout, TooLarge, Unavailable
from apiserver.storage import etcd as client
from apiserver.storage import frames
from apiserver.storage.etcd import Endpoints, Etcd
from apiserver.storage.transactions import Store
from machinery import testing
from proto import etcd_pb2 as pb
from tests.unit.apiserver.core.servers import Peer, Server, serving

KEY = b"/registry/configmaps/default/a"
BEFORE = b"/registry/configmaps/default/"
AFTER = b"/registry/configmaps/default0"


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pki") / "pki"
    testing.write_certificates(directory)
    return directory


@asynccontextmanager
async def secured(directory: Path, pki: Path) -> AsyncIterator[Etcd]:
    own = pki / "apiserver"
    async with (
        testing.etcd(directory, pki) as url,
        Etcd(Endpoints((url,), own / "ca.crt", own / "tls.crt", own / "tls.key")) as etcd,
    ):
        yield etcd


async def exercise(etcd: Etcd) -> None:
    """Much at once, and more than any window of HTTP/2 lets through at a time."""
    values = [bytes([n]) * 400_000 for n in range(20)]
    keys = [b"%s%02d" % (BEFORE, n) for n in range(20)]
    await asyncio.gather(*(etcd.put(key, value) for key, value in zip(keys, values, strict=True)))
    whole = await etcd.range(BEFORE, AFTER)
    assert [kv.value for kv in whole.kvs] == values
    answers = await asyncio.gather(*(etcd.range(keys[n % 20], limit=1) for n in range(600)))
    assert [a.kvs[0].value[:1] for a in answers] == [values[n % 20][:1] for n in range(600)]


async def test_much_at_once_by_plain_grpc(etcd: Etcd) -> None:
    await exercise(etcd)


async def test_much_at_once_by_tls(tmp_path: Path, pki: Path) -> None:
    async with secured(tmp_path, pki) as etcd:
        await exercise(etcd)


async def test_a_value_that_is_too_large_is_refused_and_nothing_else_is(etcd: Etcd) -> None:
    for size in (1_600_000, 4_000_000):
        with pytest.raises(TooLarge):
            await etcd.put(KEY, bytes(size))
    await etcd.put(KEY, b"small")
    assert (await etcd.range(KEY)).kvs[0].value == b"small"


async def test_a_watch_tells_of_what_is_larger_than_a_window(etcd: Etcd) -> None:
    start = await etcd.put(KEY, b"begin")
    values = [bytes([n]) * 300_000 for n in range(10)]
    told: list[bytes] = []

    async def follow() -> None:
        async for response in etcd.watch(BEFORE, AFTER, start + 1):
            told.extend(event.kv.value for event in response.events)
            if len(told) == len(values):
                return

    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(follow())
        for value in values:
            await etcd.put(KEY, value)
    assert told == values


async def test_whoever_has_no_certificate_is_told_why(
    tmp_path: Path, pki: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = pki / "apiserver"
    async with testing.etcd(tmp_path, pki) as url:
        async with Etcd(Endpoints((url,), own / "ca.crt", own / "tls.crt", own / "tls.key")) as etcd:
            await etcd.put(KEY, b"x")  # so it has started
        monkeypatch.setattr(client, "CALL_SECONDS", 2.0)
        async with Etcd(Endpoints((url,), own / "ca.crt")) as etcd:
            with pytest.raises(Unavailable, match=r"(?i)certificate"):
                await etcd.put(KEY, b"x")


async def test_a_restart_of_etcd_is_a_pause(tmp_path: Path, pki: Path) -> None:
    own = pki / "apiserver"
    port = testing.free_port()
    endpoints = Endpoints((f"https://127.0.0.1:{port}",), own / "ca.crt", own / "tls.crt", own / "tls.key")
    async with AsyncExitStack() as stack:
        etcd = await stack.enter_async_context(Etcd(endpoints))
        async with testing.etcd(tmp_path, pki, port):
            await etcd.put(KEY, b"before")
        reading = asyncio.create_task(etcd.range(KEY))
        await stack.enter_async_context(testing.etcd(tmp_path, pki, port))
        assert (await reading).kvs[0].value == b"before"


async def test_every_address_of_a_name_is_tried(etcd_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """localhost is often ::1 and then 127.0.0.1, and etcd may listen at the second only."""
    port, loop = urlsplit(etcd_url).port, asyncio.get_running_loop()

    async def resolved(*_: object, **__: object) -> list[object]:
        return [(2, 1, 6, "", (host, port)) for host in ("127.0.0.2", "127.0.0.1")]

    monkeypatch.setattr(loop, "getaddrinfo", resolved)
    monkeypatch.setattr(client, "CALL_SECONDS", 2.0)
    async with Etcd(Endpoints((f"http://etcd.example:{port}",))) as etcd:
        assert await etcd.revision()


# --- several members: the first is one that does what a test tells it


class Two:
    """`first` is asked until it fails, then the real one."""

    def __init__(self, etcd: Etcd, first: Server, peer: Peer) -> None:
        self.etcd, self.first, self.peer = etcd, first, peer

    async def asked(self, count: int = 1) -> None:
        await self.peer.until(frames.DATA, count)

    @property
    def calls(self) -> int:
        return len(self.peer.all(frames.HEADERS))


@pytest.fixture
async def two(etcd: Etcd, etcd_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Two]:
    """The real etcd is empty."""
    monkeypatch.setattr(client, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(client, "SILENCE_SECONDS", 0.3)
    monkeypatch.setattr(client, "WRITE_SECONDS", 2.0)
    async with serving() as first, Etcd(Endpoints((first.url, etcd_url))) as both:
        yield Two(both, first, await first.peers.get())


def creating() -> tuple[list[pb.Compare], list[pb.RequestOp]]:
    absent = pb.Compare(result=pb.Compare.EQUAL, target=pb.Compare.MOD, key=KEY, mod_revision=0)
    return [absent], [pb.RequestOp(request_put=pb.PutRequest(key=KEY, value=b"made"))]


async def test_a_write_to_a_member_that_dies_is_not_made_again(two: Two) -> None:
    writing = asyncio.create_task(two.etcd.transact(*creating()))
    await two.asked()
    await two.peer.close()
    with pytest.raises(Timeout):
        await writing
    assert not (await two.etcd.range(KEY)).kvs
    assert two.calls == 1


async def test_a_write_to_a_member_that_freezes_is_not_made_again_and_the_next_goes_elsewhere(two: Two) -> None:
    with pytest.raises(Timeout, match="silent"):
        await two.etcd.transact(*creating())
    assert not (await two.etcd.range(KEY)).kvs
    assert (await two.etcd.transact(*creating())).succeeded
    assert two.calls == 1


async def test_a_write_that_a_member_has_not_begun_is_made_elsewhere(two: Two) -> None:
    writing = asyncio.create_task(two.etcd.transact(*creating()))
    await two.asked()
    two.peer.send(frames.GOAWAY, payload=frames.number(0) + frames.number(0))
    assert (await writing).succeeded
    assert (await two.etcd.range(KEY)).kvs[0].value == b"made"


async def test_a_question_to_a_member_that_dies_is_asked_elsewhere(two: Two, store: Store) -> None:
    await store.create(KEY, b"there")
    reading = asyncio.create_task(two.etcd.range(KEY))
    await two.asked()
    await two.peer.close()
    assert (await reading).kvs[0].value == b"there"


async def test_a_question_to_a_member_that_freezes_is_asked_elsewhere(two: Two, store: Store) -> None:
    await store.create(KEY, b"there")
    assert (await two.etcd.range(KEY)).kvs[0].value == b"there"


async def test_what_a_member_cannot_answer_that_the_others_have_lost_is_asked_elsewhere(two: Two, store: Store) -> None:
    """It lives, so there is a chance that it answers a write."""
    await store.create(KEY, b"there")
    two.peer.lives = True
    writing = asyncio.create_task(two.etcd.transact(*creating()))
    await two.asked()
    assert (await two.etcd.range(KEY)).kvs[0].value == b"there"
    assert not writing.done()
    two.peer.answer(1, pb.TxnResponse(succeeded=True).SerializeToString())
    assert (await writing).succeeded
    await two.etcd.put(KEY, b"again")
    assert two.calls == 2


async def test_a_write_that_a_living_member_never_answers_is_given_up_and_not_made_again(two: Two) -> None:
    two.peer.lives = True
    with pytest.raises(Timeout):
        await two.etcd.transact(*creating())
    assert not (await two.etcd.range(KEY)).kvs
    assert two.calls == 1
    assert two.peer.all(frames.RST_STREAM)


async def test_a_watch_of_a_member_that_freezes_ends_so_that_it_can_go_on_elsewhere(two: Two, store: Store) -> None:
    watching = asyncio.ensure_future(anext(two.etcd.watch(BEFORE, AFTER, 1)))
    await two.asked()
    assert not (await two.etcd.range(KEY)).kvs  # whoever asks finds that the member is frozen
    with pytest.raises(Unavailable):
        await watching
    revision = await store.create(KEY, b"there")
    async for response in two.etcd.watch(BEFORE, AFTER, revision):
        if response.events:
            assert response.events[0].kv.value == b"there"
            break
