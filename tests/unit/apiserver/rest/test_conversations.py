"""What is said to a kubelet of this release and of an earlier one."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import grpc
import pytest

from apiserver.nodes.conversations import conversation

METHOD = "/test/Talk"


async def willing(said: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
    assert await anext(said) == b"start"
    await context.send_initial_metadata(())
    assert await anext(said) == b"more"
    yield b"heard"


async def silent(said: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
    """Says nothing before it has heard everything, as kubelets did."""
    assert [await anext(said), await anext(said)] == [b"start", b"more"]
    yield b"heard"


async def words() -> AsyncGenerator[bytes, None]:
    yield b"start"
    yield b"more"


@pytest.mark.parametrize(("behaviour", "patience"), [(willing, 30.0), (silent, 0.01)])
async def test_both_hear_everything(behaviour: Any, patience: float) -> None:
    server = grpc.aio.server()
    handler = grpc.stream_stream_rpc_method_handler(behaviour)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test", {"Talk": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with (
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        conversation(channel.stream_stream(METHOD), words(), patience) as call,
    ):
        assert [answer async for answer in call] == [b"heard"]
    await server.stop(None)
