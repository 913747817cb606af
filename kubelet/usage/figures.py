"""Numbers that were read.  Sizes are bytes, durations nanoseconds, both since the start of what they are about."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Cpu:
    total: int = 0
    user: int = 0
    system: int = 0
    periods: int = 0  # of the limit on its time
    throttled_periods: int = 0
    throttled: int = 0


@dataclass(frozen=True, slots=True)
class Memory:
    usage: int = 0
    working_set: int = 0  # what could not be given back at once
    rss: int = 0
    cache: int = 0
    mapped: int = 0
    swap: int = 0
    peak: int = 0
    limit: int = 0  # 0 without
    failures: int = 0  # how often the limit was met
    faults: int = 0
    major_faults: int = 0


@dataclass(frozen=True, slots=True)
class Traffic:
    """Of one direction."""

    bytes: int = 0
    packets: int = 0
    errors: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Interface:
    name: str
    received: Traffic
    sent: Traffic


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one container or of a whole machine, at `time` (seconds since the epoch)."""

    time: float
    cpu: Cpu = field(default_factory=Cpu)
    memory: Memory = field(default_factory=Memory)
    processes: int = 0


@dataclass(frozen=True, slots=True)
class FileSystem:
    """The one that something lies on, and how much of it that is; `used` None: nobody has counted."""

    time: float
    capacity: int = 0
    available: int = 0
    inodes: int = 0
    inodes_free: int = 0
    used: int | None = None
    inodes_used: int | None = None


@dataclass(frozen=True, slots=True)
class Volume:
    name: str
    files: FileSystem
    claim: str = ""


def total(parts: list[Figures], time: float) -> Figures:
    """What containers of a pod, or pods of a node, use together."""
    cpu, memory = [p.cpu for p in parts], [p.memory for p in parts]
    return Figures(
        time,
        Cpu(sum(c.total for c in cpu), sum(c.user for c in cpu), sum(c.system for c in cpu)),
        Memory(
            usage=sum(m.usage for m in memory), working_set=sum(m.working_set for m in memory),
            rss=sum(m.rss for m in memory), cache=sum(m.cache for m in memory), mapped=sum(m.mapped for m in memory),
            swap=sum(m.swap for m in memory), faults=sum(m.faults for m in memory),
            major_faults=sum(m.major_faults for m in memory),
            limit=sum(m.limit for m in memory) if all(m.limit for m in memory) else 0,
        ),
        sum(p.processes for p in parts),
    )  # fmt: skip
