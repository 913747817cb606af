"""HTTP/2's frames, as a server may cut and fill them."""

import pytest
from hpack import Encoder

from apiserver.storage import frames
from apiserver.storage.frames import CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PADDED, PRIORITY, Malformed


def feed(data: bytes) -> list[frames.Frame]:
    return list(frames.Frames().feed(data))


def test_frames_are_the_same_however_they_arrive() -> None:
    sent = [(DATA, 0, 1, b"a" * 300), (frames.PING, 0, 0, bytes(8)), (DATA, END_STREAM, 3, b"")]
    data = b"".join(frames.frame(*each) for each in sent)
    one_by_one = frames.Frames()
    assert feed(data) == sent
    assert [found for byte in data for found in one_by_one.feed(bytes((byte,)))] == sent


def test_a_block_of_headers_is_put_together() -> None:
    data = frames.frame(HEADERS, END_STREAM, 5, b"ab") + frames.frame(CONTINUATION, 0, 5, b"cd")
    data += frames.frame(CONTINUATION, END_HEADERS, 5, b"ef")
    assert feed(data) == [(HEADERS, END_STREAM | END_HEADERS, 5, b"abcdef")]


def test_padding_and_priority_are_no_part_of_a_block() -> None:
    payload = b"\x03" + b"12345" + b"block" + bytes(3)
    assert feed(frames.frame(HEADERS, PADDED | PRIORITY | END_HEADERS, 1, payload))[0][3] == b"block"
    assert frames.unpadded(PADDED, b"\x02data\0\0") == b"data"


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        frames.frame(DATA, 0, 1, bytes(frames.OUR_LARGEST_FRAME + 1)),
        frames.frame(CONTINUATION, END_HEADERS, 1, b"x"),
        frames.frame(HEADERS, 0, 1, b"x") + frames.frame(DATA, 0, 1, b"x"),
        frames.frame(HEADERS, 0, 1, b"x") + frames.frame(CONTINUATION, END_HEADERS, 3, b"x"),
        frames.frame(HEADERS, PADDED | END_HEADERS, 1, b"\x09x"),
    ],
)
def test_what_is_no_http2_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        feed(data)


def test_headers_mean_the_same_whenever_they_come() -> None:
    coder, headers = Encoder(), frames.Headers()
    coder.header_table_size = 0
    blocks = [coder.encode([("grpc-status", "0"), ("grpc-message", "")]) for _ in range(3)]
    assert [dict(headers.of(block)) for block in blocks] == [{b"grpc-status": b"0", b"grpc-message": b""}] * 3


def test_a_server_that_keeps_a_table_of_headers_is_refused() -> None:
    with pytest.raises(Malformed):
        frames.Headers().of(Encoder().encode([("grpc-status", "0")]))


def test_a_message_is_taken_when_all_of_it_is_there() -> None:
    whole = frames.message(b"hello") + frames.message(b"again")
    assert frames.first(whole[:9]) is None
    assert frames.first(whole) == b"hello"
    assert frames.first(whole[frames.size(b"hello") :]) == b"again"
    with pytest.raises(Malformed):
        frames.first(b"\1" + whole[1:])
