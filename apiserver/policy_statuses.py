"""Keeps the statuses of ValidatingAdmissionPolicies: the warnings of their type check, for the generation at hand.

Each API server does this for all of them; the one that comes second finds nothing to do.
"""

import asyncio
import logging

import msgspec

from api import kinds, meta
from api.errors import ApiError
from api.types import ValidatingAdmissionPolicy
from apiserver.admission.policies import type_checks
from apiserver.authorization import SELF
from apiserver.registry import Registry
from apiserver.requests import Request, User, WatchOptions
from machinery.clocks import Clock

POLICIES = kinds.of(ValidatingAdmissionPolicy)
USER = User(SELF, groups=("system:masters",))
MANAGER = "kube-controller-manager"
PAUSE = 1.0
log = logging.getLogger(__name__)


async def keep(registry: Registry, clock: Clock) -> None:
    """Until cancelled."""
    while True:
        try:
            async for batch in await registry.watch(Request(USER, "watch", POLICIES), WatchOptions()):
                for event in batch:
                    if event.type in ("ADDED", "MODIFIED"):
                        await _check(registry, meta.decode(event.document, ValidatingAdmissionPolicy))
        except ApiError as e:
            log.warning("cannot check the types of admission policies: %s", e)
        await clock.sleep(PAUSE)


async def _check(registry: Registry, policy: ValidatingAdmissionPolicy) -> None:
    """Raises ApiError."""
    metadata, status = policy.metadata, policy.status
    if status.typeChecking is not None and status.observedGeneration == metadata.generation:
        return
    catalogue = registry.catalogue
    try:
        # A policy may match ten types with schemas of thousands of fields.
        found = await asyncio.to_thread(type_checks.warnings, policy, catalogue.by_resource, catalogue.by_name)
    except Exception:
        # A check that goes wrong must not change what policies do, nor cost the server its life.
        log.exception("the types of policy %s cannot be checked", metadata.name)
        return
    warnings = [{"fieldRef": w.fieldRef, "warning": w.warning} for w in found]
    checked = {"expressionWarnings": warnings} if warnings else {}
    patch = {
        "metadata": {"uid": metadata.uid},
        "status": {"observedGeneration": metadata.generation, "typeChecking": checked},
    }
    request = Request(
        USER, "patch", POLICIES, name=metadata.name, subresource="status", field_manager=MANAGER
    )  # fmt: skip
    try:
        await registry.patch(request, msgspec.json.encode(patch), "merge")
    except ApiError as e:
        log.info("the type check of policy %s is not told: %s", metadata.name, e)
