"""A storm: one fault after the other, while clients press the API; and what came of it."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import docker

from tests.chaos import doors, scenes
from tests.chaos.clients import END, Account, Load
from tests.chaos.faults import NODES, Fault, Faults
from tests.chaos.histories import Record, Verdict, check, longest_gap
from wherry.kubectl import Kubectl
from wherry.labs import Lab

WORKLOAD = Path(__file__).with_name("workload.yaml")
AFTERMATH = 3
"""Seconds after the healing that still count as of the fault."""
END_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Struck:
    fault: Fault
    target: str
    begun: float
    healed: float
    recovered: float
    ended_containers: int
    """Of pods, by a fault that must end none."""


@dataclass(slots=True)
class Outcome:
    record: Record
    verdict: Verdict
    struck: list[Struck] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    @property
    def ended_containers(self) -> int:
        return sum(s.ended_containers for s in self.struck)

    @property
    def holds(self) -> bool:
        return self.verdict.holds and not self.violations and not self.ended_containers


async def storm(
    lab: Lab, docker_engine: docker.DockerClient, seed: int, plan: Iterable[Fault], seconds: float = float("inf")
) -> Outcome:
    """Ends with the plan, with the first violated invariant, or when a fault ends after so many seconds."""
    await asyncio.to_thread(Kubectl(lab), "apply", "-f", str(WORKLOAD))
    faults, load, account = Faults(lab, docker_engine), Load(lab, seed), Account(lab)
    struck: list[Struck] = []
    violations = await asyncio.to_thread(scenes.recovered, lab, docker_engine, NODES)
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(account.follow())
        loading = tasks.create_task(load.run())
        end = time.monotonic() + seconds
        for fault in plan:
            if violations or time.monotonic() > end:
                break
            each, violations = await _strike(lab, docker_engine, faults, fault)
            struck.append(each)
            print(f"{fault.kind:20} {each.target:20} recovered in {each.recovered - each.healed:.1f} s", flush=True)
        load.stop()
        await loading
        await _mark_the_end(lab)
        await following
    return Outcome(load.record, check(account.changes, load.record), struck, violations)


async def _strike(
    lab: Lab, docker_engine: docker.DockerClient, faults: Faults, fault: Fault
) -> tuple[Struck, list[str]]:  # fmt: skip
    do = asyncio.to_thread
    target, before = await do(faults.settle, fault), await do(faults.containers)
    begun = time.monotonic()
    await do(faults.inject, fault, target)
    try:
        await asyncio.sleep(fault.seconds)
    finally:
        await do(faults.heal, fault, target)
    healed = time.monotonic()
    wrong = await do(scenes.recovered, lab, docker_engine, NODES)
    recovered = time.monotonic()
    await asyncio.sleep(max(0, healed + AFTERMATH - recovered))
    ended = 0 if fault.ends_containers else len(before - await do(faults.containers))
    wrong = [f"after {fault.kind} of {target}: {each}" for each in wrong]
    return Struck(fault, target, begun, healed, recovered, ended), wrong


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


def table(outcome: Outcome) -> str:
    """By kind of fault, and in all."""
    rows = [
        f"{'fault':20} {'times':>5} {'longest without writes':>23} {'slowest recovery':>17} {'containers ended':>17}"
    ]
    kinds: dict[str, list[Struck]] = {}
    for each in outcome.struck:
        kinds.setdefault(each.fault.kind, []).append(each)
    for kind, all_ in sorted(kinds.items()):
        gap = max(longest_gap(outcome.record, s.begun, s.healed + AFTERMATH) for s in all_)
        slowest = max(s.recovered - s.healed for s in all_)
        ended = "meant to" if all_[0].fault.ends_containers else sum(s.ended_containers for s in all_)
        rows.append(f"{kind:20} {len(all_):5} {gap:21.2f} s {slowest:15.1f} s {ended:>17}")
    record = outcome.record
    told = sum(len(s.told) for s in record.segments)
    done = len(record.acknowledged())
    unknown = sum(w.outcome == "unknown" for w in record.writes)
    refused = len(record.writes) - done - unknown
    rows += [
        "",
        f"faults injected {len(outcome.struck)}",
        f"writes acknowledged {done}, refused {refused}, without an answer {unknown}; lists {len(record.reads)}; "
        f"watches {len(record.segments)}, their events {told}",
        f"writes lost {len(outcome.verdict.lost)}",
        f"containers ended by faults that must end none {outcome.ended_containers}",
    ]
    wrong = [*outcome.verdict.lost, *outcome.verdict.wrong, *outcome.violations]
    rows += [f"VIOLATED ({len(wrong)}):" if wrong else "Every check holds.", *(f"- {w[:600]}" for w in wrong[:20])]
    return "\n".join(rows)
