"""What containers that do not exist use."""

from kubelet.usage.cgroups import Cgroups
from kubelet.usage.figures import Cpu, Figures, Interface, Memory

EACH = 1_000_000
"""Bytes, and nanoseconds of a processor for each second since the container was looked at first."""


class SimulatedGauge(Cgroups):
    """Implements `looking.Gauge`: the machine is the real one."""

    def figures(self, pid: int, now: float) -> Figures | None:
        return Figures(now, Cpu(int(now * EACH)), Memory(usage=EACH, working_set=EACH, rss=EACH), 1)

    def interfaces(self, pid: int) -> list[Interface]:
        return []
