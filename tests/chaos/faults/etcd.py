"""What befalls etcd: its leader, the majority of its members, its quota, and its disks."""

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.chaos import disks
from tests.chaos.faults.kinds import Kind, each
from tests.chaos.faults.members import NAMES
from tests.chaos.faults.parts import LEADER, Parts, Target
from tests.chaos.faults.processes import SHORT, frozen, killed

BALLAST = "/chaos/ballast/"
"""Keys that no API server looks at."""
MEGABYTES = 24
"""More than the 16 MB by which etcd's database grows ahead of what it needs."""
STALL, BREATH = 0.4, 0.02
"""Seconds for which a slow disk does nothing, and does something."""
MAJORITIES = tuple(itertools.combinations(NAMES, 2))


@contextmanager
def out_of_space(parts: Parts, target: Target) -> Iterator[None]:
    """The alarm of a member whose quota is used up: no member takes a write until an operator has ended it."""
    for name in target:
        parts.members.alarm(name, on=True)
    yield
    for name in target:
        parts.members.alarm(name, on=False)


@contextmanager
def filled(parts: Parts, target: Target) -> Iterator[None]:
    """The member falls over when its database grows, and again whenever the engine restarts it."""
    places = [disks.place(parts.lab, name) for name in target]
    for place in places:
        disks.fill(place)
    try:
        _grow(parts, [name for name in NAMES if name not in target])
        yield
    finally:
        for place in places:
            disks.empty(place)
    restarts = [int(container.attrs["RestartCount"]) for container in parts.services(target)]
    parts.note(f"{', '.join(target)} fell over {sum(restarts)} times until now")


def _grow(parts: Parts, others: list[str]) -> None:
    """Database and log, of all members. Who of the others cannot take it now need not."""
    refused = 0
    for number in range(MEGABYTES):
        try:
            parts.members.put(others[number % len(others)], f"{BALLAST}{number % 4}", b"x" * (1 << 20))
        except OSError:
            refused += 1
    if refused == MEGABYTES:
        raise RuntimeError("no etcd member has taken anything")


@contextmanager
def stalled(parts: Parts, target: Target) -> Iterator[None]:
    """Every fsync waits. The process lives, and what it has in memory it may still tell."""
    places = [disks.place(parts.lab, name) for name in target]
    for place in places:
        disks.freeze(place)
    try:
        yield
    finally:
        for place in places:
            disks.thaw(place)


@contextmanager
def slowed(parts: Parts, target: Target) -> Iterator[None]:
    """Every fsync takes up to `STALL`."""
    places, over = [disks.place(parts.lab, name) for name in target], threading.Event()

    def stutter() -> None:
        while not over.wait(BREATH):
            for place in places:
                disks.freeze(place)
            over.wait(STALL)
            for place in places:
                disks.thaw(place)

    thread = threading.Thread(target=stutter)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


KINDS = (
    Kind("kill etcd leader", killed, each(LEADER), SHORT),
    Kind("freeze etcd leader", frozen, each(LEADER), SHORT),
    Kind("kill etcd majority", killed, MAJORITIES, (3, 12), stops_writes=True),
    Kind("freeze etcd majority", frozen, MAJORITIES, (3, 12), stops_writes=True),
    Kind("etcd out of space", out_of_space, each(*NAMES), (3, 8), stops_writes=True),
    Kind("fill etcd disk", filled, each(*NAMES, LEADER), (5, 10)),
    Kind("stall etcd disk", stalled, each(*NAMES), (3, 10)),
    Kind("stall etcd leader disk", stalled, each(LEADER), (3, 10)),
    Kind("slow etcd disk", slowed, each(*NAMES, LEADER), (3, 10)),
)
