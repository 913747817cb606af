"""Owner references that say the same twice: one of them stays, and whoever sent them is told.

Upstream does so since 1.20. References of one UID that differ in anything else are left alone there, too.
"""

from typing import Any

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
    kept: list[OwnerReference] = []
    repeated: list[str] = []
    for owner in owners:
        if owner not in kept:
            kept.append(owner)
        elif owner.uid not in repeated:
            repeated.append(owner.uid)
    if repeated:
        obj.metadata.ownerReferences = kept
        when = " after mutating admission happens" if admitted else ""
        request.warn([_WARNING.format(when=when, uids=", ".join(repeated))])
