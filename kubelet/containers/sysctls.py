"""Names of kernel parameters.
https://kubernetes.io/docs/tasks/administer-cluster/sysctl-cluster/
"""

_SWAPPED = str.maketrans("./", "/.")


def normal(name: str) -> str:
    """With dots between its parts, as the engine wants it.  A name that is written with slashes may have dots within a
    part (net/ipv4/conf/eth0.1/forwarding), and the other way round: the first separator tells which it is."""
    first = next((c for c in name if c in "./"), ".")
    return name if first == "." else name.translate(_SWAPPED)
