"""Several writes at once, none of them left behind."""

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar

T = TypeVar("T")


async def all_of(writes: Iterable[Awaitable[T]]) -> list[T]:
    """Wait until every one has ended; then raise the first failure bare, as a caller of one write would see it.

    A task group would cancel the others, of which nobody would know then whether they were done, and wrap the error.
    """
    tasks = [asyncio.ensure_future(write) for write in writes]
    await asyncio.gather(*tasks, return_exceptions=True)
    return [task.result() for task in tasks]
