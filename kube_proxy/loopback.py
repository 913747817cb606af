"""Lets connections to 127.0.0.1 be led to pods.

The kernel takes packets with a loopback address for forged as soon as they pass another device, and drops them, unless
`route_localnet` is set. The table, which stands before this is called, drops those that really come from elsewhere
(https://github.com/kubernetes/kubernetes/issues/90259).
"""

from pathlib import Path

from kube_proxy import settings

SETTING = Path("/proc/sys/net/ipv4/conf/all/route_localnet")


def allow() -> None:
    """Set it in this thread's network namespace.  Raises OSError where the setting may not be written."""
    settings.ensure(SETTING, b"1")
