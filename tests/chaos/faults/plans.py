"""Which fault comes when: drawn from a seed. Pure."""

from collections.abc import Iterator
from dataclasses import replace
from random import Random

from tests.chaos.faults import clocks, etcd, informers, networks, nodes, pods, processes
from tests.chaos.faults.kinds import Fault, Kind

MODULES = (processes, etcd, informers, networks, clocks, nodes, pods)
CATALOGUE: dict[str, Kind] = {kind.name: kind for module in MODULES for kind in module.KINDS}
TOGETHER = 0.25
"""How often a fault does not come alone."""
Strike = tuple[Fault, ...]
"""One fault, or two that overlap."""


def plan(seed: int) -> Iterator[Strike]:
    """Without an end: every kind once, in an order of chance, and then all of them again.

    The second of two is of any kind and begins while the first one stays. Both are healed before either is judged.
    """
    chance = Random(seed)
    kinds = [*CATALOGUE.values()]
    while True:
        for kind in chance.sample(kinds, len(kinds)):
            first = _drawn(chance, kind)
            if chance.random() < TOGETHER:
                second = replace(_drawn(chance, chance.choice(kinds)), after=chance.uniform(0, first.seconds))
                if sensible(first, second):
                    yield first, second
                    continue
            yield (first,)


def sensible(first: Fault, second: Fault) -> bool:
    """Two faults of one part undo each other: a process cannot be killed while it is frozen, and a second etcd member
    is a kind of its own. All else may happen at once: all servers of a kind, nodes, the balancer."""
    return not first.areas() & second.areas()


def fault(name: str, *target: str, seconds: float, after: float = 0) -> Fault:
    """One of the catalogue, chosen on purpose."""
    return Fault(CATALOGUE[name], target, seconds, after)


def _drawn(chance: Random, kind: Kind) -> Fault:
    return Fault(kind, chance.choice(kind.targets), chance.uniform(*kind.seconds))
