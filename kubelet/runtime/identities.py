"""Who a container's first process is, as the kernel tells it.
https://man7.org/linux/man-pages/man5/proc_pid_status.5.html
"""

from pathlib import Path

from kubelet.runtime.interfaces import Identity


def identity(pid: int, container: str, processes: Path = Path("/proc")) -> Identity | None:
    """None where it cannot be known: the process has ended, or lives where another one has its number here."""
    try:
        if container not in (processes / str(pid) / "cgroup").read_text():
            return None
        status = (processes / str(pid) / "status").read_text()
    except OSError:
        return None
    words = {name: rest.split() for name, _, rest in (line.partition(":") for line in status.splitlines())}
    # The real ones: a program that belongs to another user changes the effective ones as it begins.
    return Identity(int(words["Uid"][0]), int(words["Gid"][0]), tuple(map(int, words["Groups"])))
