"""Watchers that sleep while what they wait for is forgotten, and watchers that all come back at once."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.chaos import herds
from tests.chaos.faults.kinds import Kind, Wrong, each
from tests.chaos.faults.parts import NODE_NAMES, Parts, Target
from tests.chaos.faults.processes import frozen, killed
from wherry import masters

SERVERS = tuple(masters.names("apiserver"))
INFORMERS = (
    *masters.names("controller-manager"), *masters.names("scheduler"), "cluster-dns",
    *(f"{node}-{part}" for node in NODE_NAMES for part in ("kubelet", "kube-proxy")),
)  # fmt: skip
WATCHES = 1000
MEMORY = 512 << 20
"""Bytes that an API server may ever have had when a third of the herd, or all of it, has come back to it."""


@contextmanager
def slept(parts: Parts, target: Target) -> Iterator[None]:
    """Frozen while etcd forgets, and while the API servers are restarted one by one, whose memory also goes back
    no further then. It wakes up with connections that are gone and a revision that nobody knows any more."""
    with frozen(parts, target):
        for server in SERVERS:
            parts.restart(server)
        parts.forget()
        yield


@contextmanager
def server_slept(parts: Parts, target: Target) -> Iterator[None]:
    """An API server is an informer of etcd's."""
    with frozen(parts, target):
        yield
        parts.forget()


@contextmanager
def herded(parts: Parts, target: Target) -> Iterator[None]:
    """All API servers are killed under a thousand watches, which came through the balancer and do so again."""
    command = [sys.executable, "-m", herds.__name__, str(parts.lab.pki), str(parts.lab.api_port), str(WATCHES)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as herd:
        try:
            assert herd.stdout is not None  # asked for above
            if herd.stdout.readline().strip() != herds.OPEN:
                raise RuntimeError("the herd's watches could not be opened")
            with killed(parts, target):
                yield
            peak, told = _peak(parts, target), herd.communicate(timeout=2 * herds.PATIENCE)[0].strip()
        finally:
            herd.kill()
    peak = max(peak, _peak(parts, target))
    parts.note(f"{told}; an API server had {peak >> 20} MB at most")
    if herd.returncode:
        raise Wrong(told)
    if peak > MEMORY:
        raise Wrong(f"an API server had {peak >> 20} MB when {WATCHES} watches came back")


def _peak(parts: Parts, target: Target) -> int:
    return max(parts.most_memory(name) for name in target)


KINDS = (
    Kind("compact under informer", slept, each(*INFORMERS), (1, 5), needs=(*SERVERS, "etcd", masters.BALANCER)),
    Kind("compact under apiserver", server_slept, each(*SERVERS), (3, 8), needs=("etcd",)),
    Kind("thundering herd", herded, (SERVERS,), (1, 3), stops_writes=True, needs=("etcd", masters.BALANCER)),
)
