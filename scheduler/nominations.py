"""Pods for which others have to go, and the nodes where they will have room then.

https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/#user-exposed-information
"""

from collections.abc import Mapping

from api.meta import Key
from scheduler.wishes import Wish

Place = tuple[Wish, str]


class Nominations:
    """By pod, whether it is written to the pod's status yet or not. Changed through the snapshot."""

    def __init__(self) -> None:
        self._places: dict[Key, Place] = {}
        self.keep_apart: set[Key] = set()
        """Those with required anti-affinity, which concerns others than those who want the same resources."""
        self.leaving: set[str] = set()
        """The UIDs of victims whose deletion was asked for and has not been seen yet."""

    def put(self, wish: Wish, node: str) -> None:
        self._places[wish.key] = (wish, node)
        if wish.anti_affinity:
            self.keep_apart.add(wish.key)

    def remove(self, pod: Key) -> Place | None:
        """What it had."""
        self.keep_apart.discard(pod)
        return self._places.pop(pod, None)

    def isdisjoint(self, pods: Mapping[Key, object]) -> bool:
        return (
            self._places.keys().isdisjoint(pods)
            if len(pods) < len(self._places)
            else pods.keys().isdisjoint(self._places)
        )

    def on(self, node: str) -> list[Wish]:
        return [wish for wish, place in self._places.values() if place == node]

    def place_of(self, pod: Key) -> Place | None:
        return self._places.get(pod)

    def node_of(self, pod: Key) -> str:
        return self._places[pod][1] if pod in self._places else ""

    def ahead_of(self, wish: Wish) -> list[Place]:
        """Those that the pod must leave room for: of its priority or a higher one."""
        return [p for p in self._places.values() if p[0].priority >= wish.priority and p[0].key != wish.key]

    def behind(self, wish: Wish, node: str) -> list[Wish]:
        """Those that lose the node if this pod gets it."""
        return [other for other, on in self._places.values() if on == node and other.priority < wish.priority]
