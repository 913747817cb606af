"""What a client of etcd learns of its calls, whatever the server does to the connection."""

import asyncio
from collections.abc import Callable

import pytest

from apiserver.storage import frames
from apiserver.storage.calls import Lost, NotSent, Status
from apiserver.storage.connections import Connection
from apiserver.storage.frames import DATA, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE
from tests.unit.apiserver.core.servers import Peer, connected

PATH = "/test/Call"


def ask(connection: Connection, request: bytes = b"question") -> "asyncio.Task[bytes]":
    return asyncio.create_task(connection.ask(PATH, request))


async def body(peer: Peer) -> bytes:
    """Of the only call, once all of it has come."""
    async with asyncio.timeout(5):
        while not any(flags & END_STREAM for _, flags, _, _ in peer.all(DATA)):
            await peer.until(DATA, len(peer.all(DATA)) + 1)
    return b"".join(payload for _, _, _, payload in peer.all(DATA))


async def test_calls_are_answered_in_any_order() -> None:
    async with connected() as (connection, peer):
        first, second = ask(connection), ask(connection)
        await peer.until(DATA, 2)
        peer.answer(3, b"two")
        assert await second == b"two"
        peer.answer(1, b"one")
        assert await first == b"one"


async def test_a_refusal_has_the_servers_words() -> None:
    async with connected() as (connection, peer):
        asked = ask(connection)
        await peer.until(DATA)
        peer.headers(1, {":status": "200", "grpc-status": "11", "grpc-message": "compacted%3A%20%C3%BC"}, END_STREAM)
        with pytest.raises(Status) as refused:
            await asked
        assert (refused.value.code, refused.value.text) == (11, "compacted: ü")


async def test_no_more_is_sent_than_the_server_takes() -> None:
    request = bytes(range(256)) * 1000
    async with connected({frames.STREAM_WINDOW: 10, frames.LARGEST_FRAME: 2**14}) as (connection, peer):
        asked = ask(connection, request)
        assert [p for _, _, _, p in await peer.until(DATA)] == [frames.message(request)[:10]]
        peer.send(SETTINGS, payload=frames.settings({frames.STREAM_WINDOW: 20}))
        assert len((await peer.until(DATA, 2))[1][3]) == 10
        peer.send(WINDOW_UPDATE, 0, 1, frames.number(10**6))
        await peer.until(DATA, 6)
        assert sum(len(p) for _, _, _, p in peer.all(DATA)) == frames.FIRST_WINDOW  # that of the whole connection
        peer.send(WINDOW_UPDATE, 0, 0, frames.number(10**6))
        assert await body(peer) == frames.message(request)
        peer.answer(1, b"all")
        assert await asked == b"all"


async def test_no_more_calls_are_made_than_the_server_takes() -> None:
    async with connected({frames.MOST_STREAMS: 1}) as (connection, peer):
        first, second = ask(connection, b"1"), ask(connection, b"2")
        await peer.until(DATA)
        peer.answer(1, b"one")
        assert await first == b"one"
        await peer.until(DATA, 2)
        peer.answer(3, b"two")
        assert await second == b"two"
        assert [stream for _, _, stream, _ in peer.all(HEADERS)] == [1, 3]


async def test_a_caller_who_gives_up_tells_the_server_and_nobody_else() -> None:
    async with connected() as (connection, peer):
        one, other = ask(connection), ask(connection)
        await peer.until(DATA, 2)
        one.cancel()
        await asyncio.gather(one, return_exceptions=True)
        assert (await peer.until(RST_STREAM))[0][2:] == (1, frames.number(frames.CANCEL))
        peer.answer(1, b"too late")
        peer.answer(3, b"still there")
        assert await other == b"still there"


async def test_a_connection_that_breaks_leaves_calls_without_an_answer() -> None:
    async with connected() as (connection, peer):
        asked = ask(connection)
        await peer.until(DATA)
        await peer.close()
        with pytest.raises(Lost):
            await asked
        with pytest.raises(NotSent):
            await connection.ask(PATH, b"later")


async def test_a_request_of_which_a_part_was_sent_was_not_begun() -> None:
    async with connected({frames.STREAM_WINDOW: 10}) as (connection, peer):
        asked = ask(connection, bytes(100))
        await peer.until(DATA)
        await peer.close()
        with pytest.raises(NotSent):
            await asked


async def test_a_server_that_goes_says_what_it_will_not_do() -> None:
    async with connected() as (connection, peer):
        heard, unheard = ask(connection), ask(connection)
        await peer.until(DATA, 2)
        peer.send(GOAWAY, payload=frames.number(1) + frames.number(0))
        with pytest.raises(NotSent):
            await unheard
        with pytest.raises(NotSent):
            await connection.ask(PATH, b"later")
        peer.answer(1, b"done")
        assert await heard == b"done"


async def test_a_connection_whose_numbers_are_used_up_ends_when_its_calls_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "LAST_STREAM", 3)
    async with connected() as (connection, peer):
        first, second = ask(connection), ask(connection)
        await peer.until(DATA, 2)
        with pytest.raises(NotSent):
            await connection.ask(PATH, b"third")
        assert connection.ended.is_set()
        for stream, asked in ((1, first), (3, second)):
            peer.answer(stream, b"done")
            assert await asked == b"done"


@pytest.mark.parametrize(("code", "error"), [(frames.REFUSED_STREAM, NotSent), (2, Lost)])
async def test_a_reset_says_whether_the_call_was_begun(code: int, error: type[Exception]) -> None:
    async with connected() as (connection, peer):
        asked = ask(connection)
        await peer.until(DATA)
        peer.send(RST_STREAM, 0, 1, frames.number(code))
        with pytest.raises(error):
            await asked


async def test_a_silent_server_is_asked_for_a_sign_of_life_and_then_given_up() -> None:
    async with connected() as (connection, peer):
        asked = ask(connection)
        await peer.until(DATA)
        connection.check(0)
        await peer.until(PING)
        connection.check(0)
        with pytest.raises(Lost, match="silent"):
            await asked


async def test_a_server_that_lives_may_take_its_time_and_is_not_asked_again_at_once() -> None:
    async with connected() as (connection, peer):
        asked = ask(connection)
        await peer.until(DATA)
        connection.check(0)
        peer.send(PING, frames.ACK, 0, (await peer.until(PING))[0][3])
        peer.send(PING, 0, 0, b"question")  # when this is answered, the client has heard the other
        await peer.until(PING, 2)
        for _ in range(5):
            connection.check(0)
        peer.answer(1, b"at last")
        assert await asked == b"at last"
        assert len([flags for _, flags, _, _ in peer.all(PING) if not flags & frames.ACK]) == 1


async def test_nobody_is_asked_for_a_sign_of_life_for_whom_nobody_waits() -> None:
    async with connected() as (connection, peer):
        for _ in range(5):
            connection.check(0)
        asked = ask(connection)
        await peer.until(DATA)
        peer.answer(1, b"here")
        await asked
        connection.check(0)
        peer.send(PING, 0, 0, b"question")
        assert [flags for _, flags, _, _ in await peer.until(PING)] == [frames.ACK]


async def test_what_is_told_comes_message_by_message() -> None:
    async with connected() as (connection, peer):
        told = connection.listen(PATH, b"tell me")
        hearing = asyncio.ensure_future(anext(told))
        await peer.until(DATA)
        peer.headers(1, {":status": "200"})
        whole = frames.message(b"a" * 40_000) + frames.message(b"b")
        for at in range(0, len(whole), 10_000):
            peer.send(DATA, 0, 1, whole[at : at + 10_000])
        assert [await hearing, await anext(told)] == [b"a" * 40_000, b"b"]
        await told.aclose()
        await peer.until(RST_STREAM)


@pytest.mark.parametrize(
    "say",
    [
        lambda peer: peer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        lambda peer: peer.send(frames.PUSH_PROMISE, 0, 1, bytes(8)),
        lambda peer: peer.send(HEADERS, frames.END_HEADERS, 1, b"\xff\xff\xff"),
        lambda peer: peer.send(WINDOW_UPDATE, 0, 0, b""),
    ],
)
async def test_a_server_that_talks_nonsense_is_left(say: Callable[[Peer], None]) -> None:
    async with connected() as (connection, peer):
        asked = ask(connection)
        await peer.until(DATA)
        say(peer)
        with pytest.raises(Lost, match="HTTP/2"):
            await asked
