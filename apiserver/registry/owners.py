"""Owner references that say the same twice: one of them stays, and whoever sent them is told.

Upstream does so since 1.20. References of one UID that differ in anything else are left alone there, too.
"""

from typing import Any

from msgspec.structs import astuple

from api.types import OwnerReference
from apiserver.requests import Request

_WARNING = (
    ".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, and may "
    "reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {uids}"
)


def dedup(request: Request, obj: Any, *, admitted: bool) -> None:
    """`admitted`: mutating admission has seen the object, which may have added them."""
    owners = obj.metadata.ownerReferences
    if len(owners) < 2:
        return
    kept: dict[tuple[Any, ...], OwnerReference] = {}
    repeated: dict[str, None] = {}
    for owner in owners:
        if kept.setdefault(astuple(owner), owner) is not owner:
            repeated[owner.uid] = None
    if repeated:
        obj.metadata.ownerReferences = [*kept.values()]
        when = " after mutating admission happens" if admitted else ""
        request.warn([_WARNING.format(when=when, uids=", ".join(repeated))])
