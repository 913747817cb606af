"""The figures of a process's control group and of its network, from the kernel's files.

https://docs.kernel.org/admin-guide/cgroup-v2.html and https://docs.kernel.org/admin-guide/cgroup-v1/
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from kubelet.usage.figures import Cpu, Figures, Interface, Memory, Traffic, total

UNLIMITED = 1 << 62
"""A limit beyond this is none: the kernel rounds the largest number down to pages."""
TICKS = os.sysconf("SC_CLK_TCK")
SECOND = 1_000_000_000
UNIFIED = ""
"""The name under which version 2's one tree stands among version 1's controllers."""
CONTROLLERS = ("cpuacct", "cpu", "memory", "pids")


@dataclass(frozen=True, slots=True)
class Mount:
    """Where a tree of groups is seen, and which group of it that is."""

    place: Path
    root: str


def mounts(mountinfo: str) -> dict[str, Mount]:
    """By controller, of /proc/PID/mountinfo.  https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html"""
    found: dict[str, Mount] = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, words = before.split(), after.split()
        kind, options = words[0], words[-1]
        if kind == "cgroup2":
            found[UNIFIED] = Mount(Path(fields[4]), fields[3])
        elif kind == "cgroup":
            for controller in options.split(","):
                if controller in CONTROLLERS:
                    found[controller] = Mount(Path(fields[4]), fields[3])
    return found


def groups(of_process: str, seen: Mapping[str, Mount]) -> dict[str, Path]:
    """The directories of a process's groups by controller, of its /proc/PID/cgroup."""
    found: dict[str, Path] = {}
    for line in of_process.rstrip("\n").split("\n") if of_process else ():  # other ends of lines may stand in names
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            mount = seen.get(controller)
            if mount is not None:
                found[controller] = mount.place / _below(path, mount.root)
    return found


def _below(path: str, root: str) -> str:
    """A tree may be seen from one of its groups on."""
    return (path[len(root) :] if root != "/" and path.startswith(root) else path).strip("/")


class Cgroups:
    """`processes` is the /proc in which the containers' processes have the numbers that the engine tells; `node` are
    the places where the node's own group may be, if the node is not the whole machine."""

    def __init__(self, processes: Path = Path("/proc"), node: Sequence[PurePosixPath] = ()) -> None:
        self._processes = processes
        self._node = node
        self._mounts = mounts(_text(processes / "self" / "mountinfo"))

    def figures(self, pid: int, now: float) -> Figures | None:
        """None if there is no such process any more."""
        found = groups(_text(self._processes / str(pid) / "cgroup"), self._mounts)
        return group_figures(found, now) if found else None

    def interfaces(self, pid: int) -> list[Interface]:
        """Of the process's network, without its loopback; none if it shares the node's."""
        own, its = (_network(self._processes / who) for who in ("self", str(pid)))
        return [] if its == own else _without_loopback(self._processes / str(pid))

    def node_interfaces(self) -> list[Interface]:
        """Those that are no pod's end of a pair."""
        return [i for i in _without_loopback(self._processes / "self") if not i.name.startswith("veth")]

    def node(self, now: float) -> Figures:
        """Everything that runs on this machine; of a part of one, its pods and this process."""
        whole = machine(self._processes, now)
        for place in self._node:
            found = {name: mount.place / place for name, mount in self._mounts.items()}
            if "memory" in found and not found["memory"].is_dir():
                continue
            if "memory" in found or (UNIFIED in found and found[UNIFIED].is_dir()):
                pods, own = group_figures(found, now), self.figures(os.getpid(), now)
                both = total([pods, *([own] if own is not None else [])], now)
                return replace(both, memory=replace(both.memory, limit=pods.memory.limit or whole.memory.limit))
        return whole


def group_figures(directories: Mapping[str, Path], now: float) -> Figures:
    if "memory" not in directories and UNIFIED in directories:
        return _version_2(directories[UNIFIED], now)
    return _version_1(directories, now)


def _version_1(directories: Mapping[str, Path], now: float) -> Figures:
    nowhere = Path(os.devnull)
    accounts, cpu, memory, pids = (directories.get(c, nowhere) for c in CONTROLLERS)
    times, limits, details = _pairs(accounts / "cpuacct.stat"), _pairs(cpu / "cpu.stat"), _pairs(memory / "memory.stat")
    usage, limit = _number(memory / "memory.usage_in_bytes"), details.get("hierarchical_memory_limit", 0)
    return Figures(
        now,
        Cpu(
            total=_number(accounts / "cpuacct.usage"), user=times.get("user", 0) * SECOND // TICKS,
            system=times.get("system", 0) * SECOND // TICKS, periods=limits.get("nr_periods", 0),
            throttled_periods=limits.get("nr_throttled", 0), throttled=limits.get("throttled_time", 0),
        ),
        Memory(
            usage=usage, working_set=max(0, usage - details.get("total_inactive_file", 0)),
            rss=details.get("total_rss", 0), cache=details.get("total_cache", 0),
            mapped=details.get("total_mapped_file", 0), swap=details.get("total_swap", 0),
            peak=_number(memory / "memory.max_usage_in_bytes"), limit=limit if limit < UNLIMITED else 0,
            failures=_number(memory / "memory.failcnt"), faults=details.get("total_pgfault", 0),
            major_faults=details.get("total_pgmajfault", 0),
        ),
        _number(pids / "pids.current"),
    )  # fmt: skip


def _version_2(group: Path, now: float) -> Figures:
    times, details = _pairs(group / "cpu.stat"), _pairs(group / "memory.stat")
    usage = _number(group / "memory.current")
    return Figures(
        now,
        Cpu(
            total=times.get("usage_usec", 0) * 1000, user=times.get("user_usec", 0) * 1000,
            system=times.get("system_usec", 0) * 1000, periods=times.get("nr_periods", 0),
            throttled_periods=times.get("nr_throttled", 0), throttled=times.get("throttled_usec", 0) * 1000,
        ),
        Memory(
            usage=usage, working_set=max(0, usage - details.get("inactive_file", 0)), rss=details.get("anon", 0),
            cache=details.get("file", 0), mapped=details.get("file_mapped", 0),
            swap=_number(group / "memory.swap.current"), peak=_number(group / "memory.peak"),
            limit=_number(group / "memory.max"), failures=_pairs(group / "memory.events").get("max", 0),
            faults=details.get("pgfault", 0), major_faults=details.get("pgmajfault", 0),
        ),
        _number(group / "pids.current"),
    )  # fmt: skip


def machine(processes: Path, now: float) -> Figures:
    ticks = next((line.split()[1:9] for line in _text(processes / "stat").splitlines()), ["0"] * 8)
    user, nice, system, _, _, irq, softirq, steal = (int(n) * SECOND // TICKS for n in ticks)
    kibibytes, counts = _pairs(processes / "meminfo"), _pairs(processes / "vmstat")
    known = {name.rstrip(":"): size * 1024 for name, size in kibibytes.items()}
    all_of_it = known.get("MemTotal", 0)
    return Figures(
        now,
        Cpu(user + nice + system + irq + softirq + steal, user + nice, system + irq + softirq),
        Memory(
            usage=all_of_it - known.get("MemFree", 0), working_set=all_of_it - known.get("MemAvailable", 0),
            rss=known.get("AnonPages", 0), cache=known.get("Cached", 0), mapped=known.get("Mapped", 0),
            swap=known.get("SwapTotal", 0) - known.get("SwapFree", 0), limit=all_of_it,
            faults=counts.get("pgfault", 0), major_faults=counts.get("pgmajfault", 0),
        ),
        running_processes(_text(processes / "loadavg")),
    )  # fmt: skip


def running_processes(averages: str) -> int:
    """Of /proc/loadavg: how many there are, whether they run or sleep."""
    words = averages.split()
    return int(words[3].partition("/")[2]) if len(words) > 3 else 0


def boot_time(processes: Path = Path("/proc")) -> float:
    """Seconds since the epoch."""
    return float(_pairs(processes / "stat").get("btime", 0))


def most_processes(processes: Path = Path("/proc")) -> int:
    return _number(processes / "sys" / "kernel" / "pid_max")


def _network(process: Path) -> str:
    try:
        return os.readlink(process / "ns" / "net")
    except OSError:
        return ""


def _without_loopback(process: Path) -> list[Interface]:
    return [i for i in interfaces(_text(process / "net" / "dev")) if i.name != "lo"]


def interfaces(table: str) -> Iterator[Interface]:
    """Of /proc/PID/net/dev."""
    for line in table.splitlines()[2:]:
        name, _, counters = line.partition(":")
        numbers = [int(n) for n in counters.split()]
        if len(numbers) >= 12:
            yield Interface(name.strip(), Traffic(*numbers[:4]), Traffic(*numbers[8:12]))


def _text(path: Path) -> str:
    """Without buffers, which would cost more than the read itself; "" where there is no such file (any more)."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return ""
    try:
        pieces = []
        while piece := os.read(handle, 1 << 16):
            pieces.append(piece)
        # Pods name their groups and interfaces as they like, and no kernel asks for UTF-8.
        return b"".join(pieces).decode(errors="replace")
    except OSError:
        return ""  # its process ended meanwhile
    finally:
        os.close(handle)


def _number(path: Path) -> int:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else 0  # "max" is no limit


def _pairs(path: Path) -> dict[str, int]:
    words = (line.split() for line in _text(path).splitlines())
    return {w[0]: int(w[1]) for w in words if len(w) > 1 and w[1].isdecimal()}
