"""How a component's process starts, tells what it does, and ends."""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NoReturn

import uvloop

Run = Callable[[], Coroutine[Any, Any, None]]

COLLECTED_EVERY = 10_000, 20, 10
"""How often the collector of cycles runs: when there are so many more lists and dicts, and every twentieth time for
those that have outlived a run. With Python's 700 and 10 it runs for every tenth pod that is decoded, and takes half of
the time that decoding takes, more the more there is; cycles are few here, and can wait."""


class CannotGoOn(Exception):
    """The component needs something that it does not have. The message says what, for the person who runs it."""


def main(component: str, run: Run, *, verbosity: int = 0) -> NoReturn:
    """Run until SIGTERM or SIGINT; the process's exit code is 0 then, and 1 if the component cannot go on."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.DEBUG if verbosity > 1 else logging.INFO,
        format=f"%(asctime)s.%(msecs)03d %(levelname).1s {component} %(name)s: %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )  # fmt: skip
    # What was imported stays: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTED_EVERY)
    sys.exit(uvloop.run(until_signalled(component, run)))


async def until_signalled(component: str, run: Run) -> int:
    """`run()` until it ends, fails, or the process is asked to stop; the exit code."""
    log = logging.getLogger(component)
    loop = asyncio.get_running_loop()
    task = loop.create_task(run())
    stopping = False

    def stop() -> None:
        nonlocal stopping
        stopping = True
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    log.info("starting")
    try:
        await task
    except asyncio.CancelledError:
        if not stopping:
            raise
        log.info("stopped")
        return 0
    except BaseException as e:
        if stopping and _only_cancelled(e):
            return 0
        for cause in causes(e):
            if isinstance(cause, CannotGoOn | OSError):
                log.error("cannot go on: %s", cause)
            else:
                log.error("cannot go on: %r", cause, exc_info=cause)
        return 1
    return 0


def causes(error: BaseException) -> list[BaseException]:
    """The errors inside nested exception groups."""
    if isinstance(error, BaseExceptionGroup):
        return [cause for e in error.exceptions for cause in causes(e)]
    return [error]


def _only_cancelled(error: BaseException) -> bool:
    return all(isinstance(cause, asyncio.CancelledError) for cause in causes(error))


async def together(*coroutines: Awaitable[None]) -> None:
    """Run all until one fails or all end; when one fails the others are cancelled."""
    async with asyncio.TaskGroup() as tasks:
        for coroutine in coroutines:
            tasks.create_task(_await(coroutine))


async def _await(awaitable: Awaitable[None]) -> None:
    await awaitable
