"""What if: decisions on a snapshot that is changed for as long as they take, and is as it was afterwards."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from api.types import Node
from scheduler.decisions import Decision
from scheduler.snapshots import Snapshot
from scheduler.wishes import Wish


class Change(NamedTuple):
    """Of the nodes: those that are added or take the place of those of their names, and those that are left out."""

    nodes: Sequence[Node] = ()
    without: Collection[str] = ()


def simulate(
    snapshot: Snapshot, pods: Sequence[Wish], change: Change, known: Sequence[Node], decide: Callable[[Wish], Decision]
) -> list[Decision]:  # fmt: skip
    """A decision on each pod, one after another; `known` are the nodes as they are, `decide` looks at the snapshot.

    A pod that is on a node already is moved. One that others would have to go for takes no room: they go when they
    are deleted.
    """
    decisions = []
    with _changed(snapshot, change, known), _restored(snapshot, pods):
        for wish in pods:
            snapshot.remove_pod(wish.key)
            decision = decide(wish)
            decisions.append(decision)
            if decision.node:
                snapshot.set_pod(wish, decision.node)
                snapshot.storage.reserve(decision.choices, decision.node)
    return decisions


@contextmanager
def _changed(snapshot: Snapshot, change: Change, known: Sequence[Node]) -> Iterator[None]:
    touched = {n.metadata.name for n in change.nodes}.union(change.without)
    for name in touched.intersection(change.without):
        snapshot.remove_node(name)
    for node in change.nodes:
        snapshot.set_node(node)
    try:
        yield
    finally:
        before = {n.metadata.name: n for n in known}
        for name in touched:
            if name in before:
                snapshot.set_node(before[name])
            else:
                snapshot.remove_node(name)


@contextmanager
def _restored(snapshot: Snapshot, pods: Sequence[Wish]) -> Iterator[None]:
    """Also what pods were promised of storage."""
    places = [(found, node) for w in pods for node, found in [_place(snapshot, w)] if found is not None]
    taken, selected = dict(snapshot.storage.taken), dict(snapshot.storage.selected)
    try:
        yield
    finally:
        snapshot.storage.taken, snapshot.storage.selected = taken, selected
        for wish in pods:
            snapshot.remove_pod(wish.key)
        for found, node in places:
            snapshot.set_pod(found, node)


def _place(snapshot: Snapshot, wish: Wish) -> tuple[str, Wish | None]:
    node = snapshot.node_of(wish.key)
    return node, next((w for w in snapshot.pods(node) if w.key == wish.key), None)
