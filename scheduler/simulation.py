"""What if: decisions on a snapshot that is changed for as long as they take, and is as it was afterwards."""

from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
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


class Simulation:
    """Pods that look for a place one after another.

    A pod that is on a node already is moved. One that others would have to go for takes no room: they go when they
    are deleted.
    """

    def __init__(
        self, snapshot: Snapshot, pods: Sequence[Wish], change: Change, known: Callable[[], Sequence[Node]]
    ) -> None:  # fmt: skip
        """`known` are the nodes as they are."""
        self._snapshot = snapshot
        self._pods = pods
        self._change = change
        self._known = known
        self.decisions: list[Decision] = []

    @contextmanager
    def standing(self) -> Iterator[None]:
        """The snapshot is as it would be when all pods but the last ones, which are not decided, have their places."""
        restored = _restored(self._snapshot, self._pods, self.decisions)
        with _changed(self._snapshot, self._change, self._known()), restored:
            for wish, decision in zip(self._pods, self.decisions, strict=False):
                self._snapshot.remove_pod(wish.key)
                self._place(wish, decision)
            if len(self.decisions) < len(self._pods):
                self._snapshot.remove_pod(self._pods[len(self.decisions)].key)
            yield

    def decide(self, decide: Callable[[Wish], Decision]) -> None:
        """All at once; `decide` looks at the snapshot."""
        with self.standing():
            for wish in self._pods[len(self.decisions) :]:
                self._snapshot.remove_pod(wish.key)
                self.decisions.append(decide(wish))
                self._place(wish, self.decisions[-1])

    async def consult(self, consult: Callable[[Wish], Awaitable[Decision]]) -> None:
        """One by one: `consult` enters `standing` when it looks at the snapshot, which is as it is meanwhile."""
        for wish in self._pods:
            self.decisions.append(await consult(wish))

    def node(self, name: str) -> Node | None:
        """A node as it would be."""
        if name in self._change.without:
            return None
        return next((n for n in (*self._change.nodes, *self._known()) if n.metadata.name == name), None)

    def _place(self, wish: Wish, decision: Decision) -> None:
        if decision.node:
            self._snapshot.set_pod(wish, decision.node)
            self._snapshot.promise(decision.choices, decision.grants, decision.node, supposed=True)


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
def _restored(snapshot: Snapshot, pods: Sequence[Wish], decisions: Sequence[Decision]) -> Iterator[None]:
    """Also what pods were promised of storage and devices, with `decisions` that come to be meanwhile."""
    places = [(found, node) for w in pods for node, found in [_place(snapshot, w)] if found is not None]
    taken, selected = dict(snapshot.storage.taken), dict(snapshot.storage.selected)
    try:
        yield
    finally:
        for decision in decisions:
            snapshot.withdraw((), decision.grants, supposed=True)
        snapshot.storage.taken, snapshot.storage.selected = taken, selected
        for wish in pods:
            snapshot.remove_pod(wish.key)
        for found, node in places:
            snapshot.set_pod(found, node)


def _place(snapshot: Snapshot, wish: Wish) -> tuple[str, Wish | None]:
    node = snapshot.node_of(wish.key)
    return node, next((w for w in snapshot.pods(node) if w.key == wish.key), None)
