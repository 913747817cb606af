"""ResourceQuota: what a namespace may use, charged before it is used.

The charge is a compare-and-swap on the status of the quotas, so that any number of API servers together never admit
more than is allowed.  Whoever finds others waiting charges for all of them at once: 200 concurrent creations are a few
transactions.  A charge for what is then not stored after all is given back by the quota controller, which counts anew
what is there.  https://kubernetes.io/docs/concepts/policy/resource-quotas/
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from api import errors, kinds, meta
from api.errors import ApiError, Conflict
from api.quotas import amounts, evaluators
from api.quotas.amounts import Usage
from api.quotas.evaluators import Evaluator
from api.types import Pod, ResourceQuota
from apiserver.admission.reading import Ledger
from apiserver.requests import Request
from machinery.clocks import SYSTEM, Clock

QUOTAS = kinds.of(ResourceQuota)
PODS = kinds.of(Pod)
ATTEMPTS = 64
RESIZE = "resize"


class Charge:
    """What one request would use. `done` once it was decided; then `refusal` says why not, or is None."""

    def __init__(self, request: Request, evaluator: Evaluator, obj: Any, old: Any, now: float) -> None:
        self.request = request
        self.evaluator = evaluator
        self.obj = obj
        self.delta = _delta(evaluator, obj, old, now)
        self.done = False
        self.refusal: ApiError | None = None

    def refuse(self, why: str) -> None:
        resource = self.request.kind.group_resource
        self.done, self.refusal = True, errors.forbidden(resource, self.obj.metadata.name, why)


class Line:
    """Those who wait to be charged in one namespace; whoever has the lock serves all."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiting: list[Charge] = []
        self.users = 0


class ResourceQuotas:
    def __init__(self, ledger: Ledger, clock: Clock = SYSTEM) -> None:
        self._ledger = ledger
        self._clock = clock
        self._lines: dict[str, Line] = {}

    async def judge(self, request: Request, obj: Any, old: Any) -> None:
        if obj is None or not request.namespace:
            return
        if request.subresource and (request.subresource != RESIZE or request.kind is not PODS):
            return
        evaluator = evaluators.of(request.kind)
        if evaluator is None or (old is not None and not evaluator.updates and request.subresource != RESIZE):
            return
        if not self._ledger.list_within(QUOTAS, request.namespace):
            return
        charge = Charge(request, evaluator, obj, old, self._clock.now())
        await self._settle(request.namespace, charge)
        if charge.refusal is not None:
            raise charge.refusal

    async def _settle(self, namespace: str, charge: Charge) -> None:
        line = self._lines.setdefault(namespace, Line())
        line.users += 1
        line.waiting.append(charge)
        try:
            async with line.lock:
                if not charge.done:
                    batch, line.waiting = line.waiting, []
                    try:
                        await self._charge(namespace, batch)
                    finally:  # after a cancellation, the others are served by the next of them
                        line.waiting = [c for c in batch if not c.done and c is not charge] + line.waiting
        finally:
            line.users -= 1
            if charge in line.waiting:
                line.waiting.remove(charge)
            if not line.users:
                self._lines.pop(namespace, None)

    async def _charge(self, namespace: str, batch: Sequence[Charge]) -> None:
        """Decide on all of `batch`.  Raises Conflict when others are faster again and again."""
        proven = False
        for _ in range(ATTEMPTS):
            quotas = [meta.clone(q) for q in self._ledger.list_within(QUOTAS, namespace)]
            before = [dict(q.status.used) for q in quotas]
            for charge in batch:
                charge.done, charge.refusal = False, None
                check(quotas, charge)
            if not proven and any(c.refusal is not None for c in batch):
                await self._ledger.fresh()  # nobody is refused for what the cache has not seen yet
                proven = True
                continue
            changed = [q for q, used in zip(quotas, before, strict=True) if q.status.used != used]
            try:
                if changed:
                    await self._ledger.replace_together(QUOTAS, changed)
            except Conflict:
                await self._ledger.fresh()
                proven = True
                continue
            for charge in batch:
                charge.done = True
            return
        for charge in batch:
            charge.done = False
        raise errors.conflict(QUOTAS.group_resource, quotas[0].metadata.name, errors.STALE)


def check(quotas: Iterable[ResourceQuota], charge: Charge) -> None:
    """Add the charge to what the quotas say is used, or refuse it and leave them as they are. Pure."""
    evaluator, obj = charge.evaluator, charge.obj
    concerned = []
    for quota in quotas:
        resources = evaluator.matching(quota.status.hard)
        if not resources or not evaluators.covers(evaluator, quota, obj):
            continue
        name = quota.metadata.name
        if missing := evaluator.unstated(resources, obj):
            return charge.refuse(f"failed quota: {name}: must specify {missing}")
        if not resources <= quota.status.used.keys():
            return charge.refuse(f"status unknown for quota: {name}, resources: {','.join(sorted(resources))}")
        concerned.append(quota)
    if negative := sorted(name for name, a in charge.delta.items() if a.value < 0):
        return charge.refuse(f"quota usage is negative for resource(s): {','.join(negative)}")
    accounts = []
    for quota in concerned:
        hard, used = amounts.read(quota.status.hard), amounts.read(quota.status.used)
        requested = amounts.masked(charge.delta, hard)
        new = amounts.add(used, requested)
        if exceeded := [name for name in requested if new[name].value > hard[name].value]:
            parts = [f"{word}: {amounts.said(list_, exceeded)}" for word, list_ in (
                ("requested", requested), ("used", used), ("limited", hard),
            )]  # fmt: skip
            return charge.refuse(f"exceeded quota: {quota.metadata.name}, {', '.join(parts)}")
        accounts.append((quota, requested, new))
    if not charge.request.dry_run:
        for quota, requested, new in accounts:
            quota.status.used |= amounts.write(amounts.masked(new, requested))
    return None


def _delta(evaluator: Evaluator, obj: Any, old: Any, now: float) -> Usage:
    """What is used beyond what the object used before. What shrinks is given back by the controller, when it has."""
    wanted = evaluator.usage(obj, now)
    if old is not None:
        had = evaluator.usage(old, now)
        wanted = {
            name: a._replace(value=max(a.value - had[name].value, a.value * 0)) if name in had else a
            for name, a in wanted.items()
        }
    return {name: a for name, a in wanted.items() if a.value}
