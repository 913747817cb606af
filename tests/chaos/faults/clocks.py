"""Clocks that jump, and jump back when the fault is healed."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from tests.chaos import clocks
from tests.chaos.faults.kinds import Kind, each
from tests.chaos.faults.parts import NODE_NAMES, Parts, Target
from wherry import masters

SECONDS = 400
"""More than any toleration, lifetime of a lease or time that a node's status is good for."""
LONGER = (5, 15)


@contextmanager
def jumped(parts: Parts, target: Target, seconds: int) -> Iterator[None]:
    for name in target:
        clocks.set_by(parts.lab, name, seconds)
    yield
    for name in target:
        clocks.set_by(parts.lab, name, 0)


def _kinds() -> Iterator[Kind]:
    for verb, seconds in (("forward", SECONDS), ("backward", -SECONDS)):
        strike = partial(jumped, seconds=seconds)
        for part in clocks.PARTS:
            yield Kind(f"{verb} {part}", strike, each(*masters.names(part)), LONGER)
        yield Kind(f"{verb} kubelet", strike, each(*(f"{node}-kubelet" for node in NODE_NAMES)), LONGER)


KINDS = tuple(_kinds())
