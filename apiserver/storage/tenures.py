"""What a leader asks for is done only while it leads.

Leaders hold a Lease (machinery.leases), and stop before another may take it. But what one has said last may arrive
late: it lay in a socket while the process, or this server, stood still. So a leader's writes say under which Lease, and
as who, they were asked for, and etcd does them only if the Lease stands as it did when its holder was last looked at:
after another has taken it, nothing of the one before is done any more.

https://martin.kleppmann.com/2016/02/08/how-to-do-distributed-locking.html calls it a fencing token.
"""

from collections.abc import Iterable
from contextvars import ContextVar
from typing import NamedTuple
from urllib.parse import unquote

from api import meta
from api.errors import BadRequest
from api.types import Lease
from apiserver.storage import keys
from machinery.channels import TENURE

RESOURCE = "coordination.k8s.io/leases"


class Tenure(NamedTuple):
    lease: bytes
    """Its key in etcd."""
    holder: str
    since: str
    """Its acquireTime: the same process may have lost it and got it again, or another one may go by its name."""


CURRENT: ContextVar[Tenure | None] = ContextVar("tenure", default=None)
"""Under which the task writes that serves a request; None: whoever asks leads nobody, or needs not."""


def told(metadata: Iterable[tuple[str, str | bytes]]) -> Tenure | None:
    """As a client says it with a call.  Raises BadRequest."""
    said = next((value for key, value in metadata if key == TENURE), None)
    if said is None:
        return None
    namespace, _, rest = str(said).partition("/")
    name, _, rest = rest.partition("/")
    holder, _, since = rest.partition("/")
    if not (namespace and name and holder and since):
        raise BadRequest(f"{TENURE} is to be NAMESPACE/NAME/HOLDER/SINCE of a Lease")
    return Tenure(keys.whole(RESOURCE, keys.within(namespace, name)), unquote(holder), since)


def holds(tenure: Tenure, lease: bytes) -> bool:
    """Whether the stored Lease tells of it."""
    spec = meta.decode(lease, Lease).spec
    return (spec.holderIdentity, spec.acquireTime) == (tenure.holder, tenure.since)
