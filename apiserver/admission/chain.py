"""The ordered lists of admission rules: those that may change an object, then those that only judge the outcome.

https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#admission-control-phases
"""

from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Any, Protocol

from apiserver.admission.default_classes import DefaultIngressClass, DefaultStorageClass
from apiserver.admission.limit_ranges import LimitRanger
from apiserver.admission.namespaces import NamespaceLifecycle
from apiserver.admission.new_nodes import TaintNodesByCondition
from apiserver.admission.pod_security import PodSecurity
from apiserver.admission.priorities import Priority
from apiserver.admission.reading import Ledger
from apiserver.admission.resource_quotas import ResourceQuotas
from apiserver.admission.runtime_classes import RuntimeClasses
from apiserver.admission.service_accounts import ServiceAccounts
from apiserver.admission.services import ServiceAddresses
from apiserver.admission.storage_objects import PersistentVolumeClaimResize, StorageObjectInUseProtection
from apiserver.admission.tolerations import DefaultTolerationSeconds
from apiserver.requests import Reinvocation, Request

Observe = Callable[[float, str, str, str, bool], None]
"""(seconds, admit or validate, the rule, the verb, whether it refused)"""


class Plugin(Protocol):
    """One rule. `admit` changes `obj` in place or raises an ApiError.

    `obj` is None on deletion, `old` is None on creation.  `old` is shared and stays as it is.
    """

    async def admit(self, request: Request, obj: Any, old: Any) -> None: ...


class Judge(Protocol):
    """One rule of the second phase: it sees an object that is valid and complete, and changes nothing."""

    async def judge(self, request: Request, obj: Any, old: Any) -> None: ...


class Admission:
    """All rules, one after the other. `last` are those of the first phase that must see what the object came to be."""

    def __init__(
        self, plugins: Sequence[Plugin], judges: Sequence[Judge] = (), last: Sequence[Plugin] = (),
        observe: Observe | None = None,
    ) -> None:  # fmt: skip
        """`observe` is told how long each rule took and whether it refused."""
        self._observe = observe
        self.plugins = tuple(plugins)
        self.judges = tuple(judges)
        self.last = tuple(last)

    async def admit(self, request: Request, obj: Any, old: Any) -> None:
        """The first phase, before validation. Raises the first refusal; `obj` is then of no use any more."""
        request.reinvocation = reinvocation = Reinvocation()
        for plugin in self.plugins:
            await self._timed("admit", request, plugin, plugin.admit(request, obj, old))
        if reinvocation.wanted:
            reinvocation.second = True
            for plugin in self.plugins:
                await self._timed("admit", request, plugin, plugin.admit(request, obj, old))
        for plugin in self.last:
            await self._timed("admit", request, plugin, plugin.admit(request, obj, old))

    async def pass_(self, request: Request, obj: Any, old: Any) -> None:
        """Both phases, of what is not stored and has no rules in between."""
        await self.admit(request, obj, old)
        await self.judge(request, obj, old)

    async def judge(self, request: Request, obj: Any, old: Any) -> None:
        """The second phase, after validation and before the transaction. Raises the first refusal."""
        for judge in self.judges:
            await self._timed("validate", request, judge, judge.judge(request, obj, old))

    async def _timed(self, phase: str, request: Request, rule: Any, work: Awaitable[None]) -> None:
        if self._observe is None:
            return await work
        began, refused = perf_counter(), True
        try:
            await work
            refused = False
        finally:
            self._observe(perf_counter() - began, phase, type(rule).__name__, request.verb, refused)
        return None


def standard(
    reader: Ledger,
    *,
    service_cluster_ip_range: str,
    service_node_port_range: str,
    guards: Sequence[Plugin] = (),
    judges: Sequence[Judge] = (),
    mutating: Sequence[Plugin] = (),
    validating: Sequence[Judge] = (),
    mount_tokens: bool = False,
    observe: Observe | None = None,
) -> Admission:
    """Upstream's default plug-ins in upstream's order, then the allocation of addresses for services.

    `service_cluster_ip_range` is one CIDR, or two of different families for dual stack, comma-separated;
    `service_node_port_range` is `30000-32767` or `30000+2767`.  `guards` and `judges` come first in their phases,
    `mutating` and `validating` (what objects in the cluster ask for: policies, webhooks) after all others.
    `mount_tokens` if service account tokens can be had.  Raises ValueError.
    """
    limits, runtimes = LimitRanger(reader), RuntimeClasses(reader)
    return Admission(
        [
            *guards,
            NamespaceLifecycle(reader),
            limits,
            ServiceAccounts(reader, mount_tokens=mount_tokens),
            TaintNodesByCondition(),
            Priority(reader),
            DefaultTolerationSeconds(),
            DefaultStorageClass(reader),
            StorageObjectInUseProtection(),
            runtimes,
            DefaultIngressClass(reader),
            *mutating,
        ],
        # Whoever charges comes last, when nobody else can refuse any more.
        [
            *judges,
            limits,
            PodSecurity(reader),
            PersistentVolumeClaimResize(reader),
            runtimes,
            *validating,
            ResourceQuotas(reader),
        ],
        # What it allocates must fit what the object is in the end.
        last=[ServiceAddresses(reader, service_cluster_ip_range, service_node_port_range)],
        observe=observe,
    )
