"""Nodes that lose their power or their way to the control plane."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from tests.chaos.faults.kinds import Kind, each
from tests.chaos.faults.parts import NODE_NAMES, Parts, Target
from wherry import cutting, powering

NODES = each(*NODE_NAMES)


@contextmanager
def stopped(parts: Parts, target: Target) -> Iterator[None]:
    for node in target:
        powering.stop(parts.engine, parts.lab, node)
    yield
    for node in target:
        powering.start(parts.engine, parts.lab, node)


@contextmanager
def cut(parts: Parts, target: Target, one_way: cutting.Way | None = None) -> Iterator[None]:
    for node in target:
        cutting.cut(parts.engine, parts.lab, node, one_way)
    yield
    for node in target:
        cutting.mend(parts.engine, parts.lab, node)


KINDS = (
    Kind("stop node", stopped, NODES, (2, 10), ends_containers=True),
    Kind("cut node", cut, NODES, (3, 20)),
    Kind("cut node in", partial(cut, one_way=cutting.Way.IN), NODES, (3, 20)),
    Kind("cut node out", partial(cut, one_way=cutting.Way.OUT), NODES, (3, 20)),
    Kind("cut node long", cut, NODES, (50, 55), ends_containers=True),
)
