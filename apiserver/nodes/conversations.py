"""Calls in which both sides stream."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc


@asynccontextmanager
async def conversation(method: Any, said: AsyncGenerator[Any, None]) -> AsyncIterator[Any]:
    """The call, while what is said goes into it; iterate it for the answers.

    The other side hears the first message, and all others once it has said that it is willing (its initial metadata):
    what is written to a call at the moment that it ends puts gRPC's own words in the place of the reason.

    gRPC itself takes an iterator too, and leaves it hanging where the other side ends first: then its task, and the
    generator in it, are destroyed while they wait.
    """
    call = method()
    sending = asyncio.create_task(_send(call, said), name="what is said in a call")
    try:
        yield call
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        call.cancel()


async def _send(call: Any, said: AsyncGenerator[Any, None]) -> None:
    try:
        accepted = False
        async for each in said:
            await call.write(each)
            if not accepted:
                await call.initial_metadata()
                accepted = True
            if call.done():
                return
        await call.done_writing()
    except (asyncio.InvalidStateError, grpc.aio.AioRpcError):
        return  # the call is over; whoever reads it is told why
    finally:
        await said.aclose()
