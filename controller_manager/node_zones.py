"""How well the nodes of each zone are, and how fast the unwell ones may be evicted therefore.

https://kubernetes.io/docs/concepts/architecture/nodes/#rate-limits-on-eviction . Counted as nodes change, not when it
is asked: each of a thousand nodes asks, and would go through a thousand others.
"""

from collections import Counter
from enum import Enum

from api.types import Node
from controller_manager.node_health import readiness, zone_of


class Disruption(Enum):
    NONE = "Normal"
    PARTIAL = "PartialDisruption"
    FULL = "FullDisruption"


def disruption(bad: int, nodes: int, threshold: float) -> Disruption:
    """How badly a zone is hit. When many nodes fall silent at once, the network is likelier to be broken than they."""
    if bad and bad == nodes:
        return Disruption.FULL
    if bad > 2 and bad / nodes >= threshold:
        return Disruption.PARTIAL
    return Disruption.NONE


class Zones:
    def __init__(self, *, rate: float, secondary_rate: float, large: int, threshold: float) -> None:
        self._rate, self._secondary_rate = rate, secondary_rate
        self._large, self._threshold = large, threshold
        self._known: dict[str, tuple[str, bool]] = {}  # name → its zone, and whether it is well
        self._sizes: Counter[str] = Counter()
        self._bad: Counter[str] = Counter()
        self.unwell: set[str] = set()
        """The names of nodes that are not Ready."""
        self._rates: dict[str, float | None] = {}

    def rate(self, zone: str) -> float | None:
        """How many nodes of the zone may begin to be evicted in a second; 0: none; None: none, and those begun must
        stop."""
        return self._rates[zone]

    def put(self, node: Node) -> bool:
        """Count the node as it is now. Whether the rate of any zone is another one because of that."""
        zone, well = zone_of(node), readiness(node) == "True"
        if self._known.get(node.metadata.name) == (zone, well):
            return False
        self._leave(node.metadata.name)
        self._known[node.metadata.name] = zone, well
        self._sizes[zone] += 1
        if not well:
            self._bad[zone] += 1
            self.unwell.add(node.metadata.name)
        return self._changed()

    def remove(self, name: str) -> bool:
        """As `put`, of a node that is no more."""
        self._leave(name)
        return self._changed()

    def _leave(self, name: str) -> None:
        if name not in self._known:
            return
        zone, well = self._known.pop(name)
        self._sizes -= Counter({zone: 1})  # which forgets a zone without nodes
        if not well:
            self._bad[zone] -= 1
            self.unwell.discard(name)

    def _changed(self) -> bool:
        states = {zone: disruption(self._bad[zone], size, self._threshold) for zone, size in self._sizes.items()}
        before = self._rates
        if all(state is Disruption.FULL for state in states.values()):
            self._rates = dict.fromkeys(states)  # nobody is heard: it is we who are cut off
        else:
            self._rates = {zone: self._rate_of(zone, state) for zone, state in states.items()}
        return self._rates != before

    def _rate_of(self, zone: str, state: Disruption) -> float:
        if state is not Disruption.PARTIAL:
            return self._rate
        return self._secondary_rate if self._sizes[zone] > self._large else 0.0
