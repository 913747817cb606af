"""What containers that do not exist use."""

from kubelet.runtime.simulated import Engine
from kubelet.usage.cgroups import Cgroups
from kubelet.usage.figures import Cpu, Figures, Interface, Memory

SANDBOX = 500_000  # bytes


class SimulatedGauge(Cgroups):
    """Implements `looking.Gauge`: the node is this machine, and a container uses what its behaviour says."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine

    def figures(self, pid: int, now: float) -> Figures | None:
        processor, memory = self._engine.uses(pid) or (0, SANDBOX)
        return Figures(now, Cpu(processor), Memory(usage=memory, working_set=memory, rss=memory), 1)

    def interfaces(self, pid: int) -> list[Interface]:
        return []
