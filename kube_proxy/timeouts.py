"""How long the kernel remembers connections that are quiet, so that their packets are still led to pods.

By itself it forgets after a minute a connection of which one side has said all that it has to say, while the other may
think for longer about its answer. Upstream's numbers.
"""

from pathlib import Path

from kube_proxy import settings

SETTINGS = Path("/proc/sys/net/netfilter")
SECONDS = {"nf_conntrack_tcp_timeout_close_wait": 3600, "nf_conntrack_tcp_timeout_established": 86400}


def keep() -> None:
    """Set them in this thread's network namespace.  Raises OSError where a setting may not be written."""
    for name, seconds in SECONDS.items():
        settings.ensure(SETTINGS / name, str(seconds).encode())
