"""Where an object stands in etcd: `/registry/PLURAL/NAMESPACE/NAME`, with `GROUP/` before PLURAL outside the core.

Keys of our own, which are no objects, begin with `/registry/.`: within the watched prefix, so that every revision that
this project makes is seen by the watch, and sorted before every resource.
"""

from api.kinds import BUILT_IN, Kind

PREFIX = b"/registry/"
END = b"/registry0"
OWN = b"/registry/."
CLAIMS = b"/registry/.claims/"
SERVICE_ADDRESSES = "serviceips/"
MARKER = b"/registry/.marker"
COMPACTION = b"/registry/.compaction"
API_SERVERS = b"/registry/.apiservers/"

_CORE = frozenset(kind.plural for kind in BUILT_IN if not kind.group)


def resource(kind: Kind) -> str:
    """The part of the key that all objects of a kind share; versions of a kind share it too."""
    return f"{kind.group}/{kind.plural}" if kind.group else kind.plural


def within(namespace: str, name: str) -> str:
    """What names an object within its resource, and orders it as etcd does."""
    return f"{namespace}/{name}" if namespace else name


def whole(resource: str, key: str) -> bytes:
    return f"/registry/{resource}/{key}".encode()


def split(key: bytes) -> tuple[str, str]:
    """The inverse of `whole`. No API group has the name of a core resource, so there is no doubt."""
    first, _, rest = key[len(PREFIX) :].decode().partition("/")
    if first in _CORE:
        return first, rest
    second, _, rest = rest.partition("/")
    return f"{first}/{second}", rest


def claim(name: str) -> bytes:
    """The key by which an object holds something of which there is only one: `nodeports/30001`.

    That of a cluster IP, `serviceips/10.96.0.1`, is where the IPAddress object stands which tells of it.
    """
    if name.startswith(SERVICE_ADDRESSES):
        return whole("networking.k8s.io/ipaddresses", name.removeprefix(SERVICE_ADDRESSES))
    return CLAIMS + name.encode()
