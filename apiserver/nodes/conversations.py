"""Calls in which both sides stream."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc

PATIENCE = 1.0
OVERWRITTEN = "Internal error from Core"
"""gRPC's words for a call that has ended, well or not, while something was written to it."""


@asynccontextmanager
async def conversation(
    method: Any, said: AsyncGenerator[Any, None], patience: float = PATIENCE
) -> AsyncIterator[Any]:  # fmt: skip
    """The call, while what is said goes into it; iterate it for the answers.

    The other side hears the first message, and all others once it has said that it is willing (its initial metadata):
    what is written to a call at the moment that it ends puts gRPC's own words in the place of the reason. Kubelets of
    before 30 November 2026 say so only with their first answer, which may be waiting for more, so after `patience`
    seconds they hear the rest anyway.

    gRPC itself takes an iterator too, and leaves it hanging where the other side ends first: then its task, and the
    generator in it, are destroyed while they wait.
    """
    call = method()
    sending = asyncio.create_task(_send(call, said, patience), name="what is said in a call")
    try:
        yield call
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        call.cancel()


async def _send(call: Any, said: AsyncGenerator[Any, None], patience: float) -> None:
    try:
        accepted = False
        async for each in said:
            await call.write(each)
            if not accepted:
                with suppress(TimeoutError):
                    await asyncio.wait_for(call.initial_metadata(), patience)
                accepted = True
            if call.done():
                return
        await call.done_writing()
    except (asyncio.InvalidStateError, grpc.aio.AioRpcError):
        return  # the call is over; whoever reads it is told why
    finally:
        await said.aclose()
