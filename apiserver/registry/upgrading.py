"""Objects that an older release has stored get the defaults that have come since.

Upstream fills defaults in whenever it reads from etcd. Here what is stored is served as it is, so what is missing is
written, once: each API server looks through all built-in objects when it has started (some 25 µs for each), and writes
those that its defaults change. Each of them, since older servers may go on writing while a cluster is upgraded one by
one; whoever is started last finds what they have left. Custom objects get the defaults of their schemas when they are
read.
"""

import asyncio
import logging

import msgspec

from api import kinds, meta
from api.errors import ApiError, NotFound, TooLarge
from api.kinds import Kind
from apiserver import rules
from apiserver.registry.objects import Objects
from apiserver.rules import conversions
from apiserver.storage.transactions import Changed
from machinery.clocks import Clock

SLICE = 50
"""Objects between two turns of the loop: a few milliseconds."""
RETRY_SECONDS = 5.0
log = logging.getLogger(__name__)


async def complete(objects: Objects, clock: Clock) -> None:
    """Returns when every object that was stored before the call has this release's defaults, but for those that can
    have none. What fails is tried again after all others: it may go on failing."""
    left = [(kind, key) for kind in kinds.BUILT_IN if _is_stored(kind) for key in objects.names_cached(kind)]
    while left:
        again = []
        for number, (kind, key) in enumerate(left):
            if not await _completed(objects, kind, key):
                again.append((kind, key))
            if number % SLICE == 0:
                await asyncio.sleep(0)
        left = again
        if left:
            await clock.sleep(RETRY_SECONDS)


def _is_stored(kind: Kind) -> bool:
    return {"create", "get"} <= {*kind.verbs} and conversions.stored_kind(kind) is kind


async def _completed(objects: Objects, kind: Kind, key: str) -> bool:
    """False if it has to be tried again."""
    namespace, _, name = key.rpartition("/")
    try:
        current = await objects.current(kind, namespace, name)
        before = meta.encode(current.obj)
        rules.default(kind, current.obj)
        # Not held against what is stored: fields of a newer release, which this one does not know, are no reason.
        if meta.encode(current.obj) != before:
            await objects.update(kind, current, current.obj)
            log.info("%s %s has got the defaults of this release", kind.name, key)
    except NotFound:
        return True
    except Changed:
        return False  # whoever wrote it may be of an older release
    except (msgspec.ValidationError, TooLarge) as e:
        log.error("%s %s cannot be completed: %s", kind.name, key, e)
    except ApiError as e:
        log.warning("%s %s cannot be completed now: %s", kind.name, key, e)
        return False
    return True
