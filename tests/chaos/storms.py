"""A storm: one fault after the other, or two at once, while clients press the API."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import docker

from tests.chaos import doors, scenes
from tests.chaos.clients import END, Account, Load
from tests.chaos.faults.kinds import Fault, Wrong
from tests.chaos.faults.parts import NODES, Parts, Target
from tests.chaos.faults.plans import Strike
from tests.chaos.histories import Record, check, longest_gap
from tests.chaos.outcomes import STANDSTILL, Outcome, Struck
from wherry.kubectl import Kubectl
from wherry.labs import Lab
from wherry.masters import BALANCER

WORKLOAD = Path(__file__).with_name("workload.yaml")
AFTERMATH = 3
"""Seconds after the healing that still count as of the fault."""
END_SECONDS = 60


async def storm(
    lab: Lab,
    docker_engine: docker.DockerClient,
    seed: int,
    plan: Iterable[Strike],
    seconds: float = float("inf"),
    tell: Callable[[Outcome], None] = lambda _: None,
) -> Outcome:
    """Ends with the plan, with the first violated invariant, or when a fault ends after so many seconds.

    `tell` hears of the outcome so far after every fault, so that a storm that is interrupted has said what it saw.
    """
    await asyncio.to_thread(Kubectl(lab), "apply", "-f", str(WORKLOAD))
    load, account = Load(lab, seed), Account(lab)
    parts = Parts(lab, docker_engine, lambda: account.revision)
    outcome = Outcome(load.record, notes=parts.notes)
    outcome.violations += await asyncio.to_thread(scenes.recovered, parts, NODES)
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(account.follow())
        loading = tasks.create_task(load.run())
        end = time.monotonic() + seconds
        for strike in plan:
            if outcome.violations or time.monotonic() > end:
                break
            struck, wrong = await _strike(parts, strike, load.record)
            outcome.struck.append(struck)
            outcome.violations += wrong
            print(struck, flush=True)
            tell(outcome)
        load.stop()
        await loading
        await _mark_the_end(lab)
        await following
    outcome.verdict = check(account.changes, load.record)
    tell(outcome)
    return outcome


async def _strike(parts: Parts, strike: Strike, record: Record) -> tuple[Struck, list[str]]:
    do = asyncio.to_thread
    targets = tuple([await do(parts.settle, fault.target) for fault in strike])
    before, begun = await do(_containers, parts), time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        judging = [tasks.create_task(_one(f, parts, t)) for f, t in zip(strike, targets, strict=True)]
    wrong, healed = [judged for task in judging if (judged := task.result())], time.monotonic()
    wrong += await do(scenes.recovered, parts, NODES)
    recovered = time.monotonic()
    await asyncio.sleep(max(0, healed + AFTERMATH - recovered))
    gap = longest_gap((w for w in record.writes if w.client.endswith(BALANCER)), begun, healed + AFTERMATH)
    ended = len(before - await do(_containers, parts))
    if any(fault.kind.ends_containers for fault in strike):
        ended = 0
    struck = Struck(strike, targets, gap, recovered - healed, ended)
    if gap > STANDSTILL and not struck.stops_writes:
        wrong.append("writes stood still")
    return struck, [f"after {struck}: {each}" for each in wrong]


async def _one(fault: Fault, parts: Parts, target: Target) -> str:
    """What the fault itself finds wrong; "" if nothing."""
    await asyncio.sleep(fault.after)
    try:
        async with _struck(fault, parts, target):
            await asyncio.sleep(fault.seconds)
    except Wrong as wrong:
        return str(wrong)
    return ""


@asynccontextmanager
async def _struck(fault: Fault, parts: Parts, target: Target) -> AsyncIterator[None]:
    """Its ways in and out take their time in the engine, and clients must not wait for them."""
    strike = fault.kind.strike(parts, target)
    await asyncio.to_thread(strike.__enter__)
    try:
        yield
    finally:
        await asyncio.to_thread(strike.__exit__, None, None, None)


def _containers(parts: Parts) -> set[str]:
    return {str(container.id) for container in parts.pods_containers()}


async def _mark_the_end(lab: Lab) -> None:
    async with asyncio.timeout(END_SECONDS), doors.rest(lab) as door:
        while True:
            try:
                await door.put(END, END, 0)
            except doors.REFUSALS:
                return  # an attempt without an answer was done
            except doors.UNANSWERED:
                await asyncio.sleep(0.2)
            else:
                return
