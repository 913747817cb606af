"""The ordered lists of admission rules: those that may change an object, then those that only judge the outcome.

https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#admission-control-phases
"""

from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Any, Protocol

from api.kinds import Kind
from apiserver.admission.default_classes import INGRESSES, DefaultIngressClass, DefaultStorageClass
from apiserver.admission.devices import CLAIMS as DEVICE_CLAIMS
from apiserver.admission.devices import TEMPLATES, DeviceAdminAccess
from apiserver.admission.limit_ranges import CLAIMS, LimitRanger
from apiserver.admission.namespaces import NamespaceLifecycle
from apiserver.admission.new_nodes import NODES, TaintNodesByCondition
from apiserver.admission.pod_security import NAMESPACES, PODS, WITH_TEMPLATES, PodSecurity
from apiserver.admission.priorities import CLASSES as PRIORITY_CLASSES
from apiserver.admission.priorities import GROUPS as POD_GROUPS
from apiserver.admission.priorities import Priority
from apiserver.admission.reading import Ledger
from apiserver.admission.resizes import PodResizeValidator
from apiserver.admission.resource_quotas import ResourceQuotas
from apiserver.admission.runtime_classes import RuntimeClasses
from apiserver.admission.service_accounts import ServiceAccounts
from apiserver.admission.services import SERVICES, ServiceAddresses
from apiserver.admission.storage_objects import (
    FINALIZERS,
    PersistentVolumeClaimResize,
    StorageObjectInUseProtection,
)
from apiserver.admission.tolerations import DefaultTolerationSeconds
from apiserver.admission.topology_labels import PodTopologyLabels
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


class About:
    """A rule that has nothing to do with other kinds than these, and is not called for them."""

    __slots__ = ("kinds", "rule")

    def __init__(self, rule: Any, *kinds: Kind) -> None:
        self.rule = rule
        self.kinds = kinds


Work = Callable[[Request, Any, Any], Awaitable[None]]
Steps = tuple[tuple[str, Work], ...]
"""The rules for one kind in one phase: the name of each, and what it does."""


class Phase:
    """Rules in their order, sorted out once by the kinds that they are about."""

    def __init__(self, rules: Sequence[Any], method: str) -> None:
        parts = [rule if isinstance(rule, About) else About(rule) for rule in rules]
        self.rules = tuple(part.rule for part in parts)
        about = [({(k.group, k.plural) for k in part.kinds}, part.rule) for part in parts]

        def steps(resource: tuple[str, str] | None) -> Steps:
            found = [rule for resources, rule in about if not resources or resource in resources]
            return tuple((type(rule).__name__, getattr(rule, method)) for rule in found)

        self._others = steps(None)
        self._own = {resource: steps(resource) for resources, _ in about for resource in resources}

    def of(self, kind: Kind) -> Steps:
        return self._own.get((kind.group, kind.plural), self._others)


class Admission:
    """All rules, one after the other. `last` are those of the first phase that must see what the object came to be."""

    def __init__(
        self, plugins: Sequence[Plugin | About], judges: Sequence[Judge | About] = (),
        last: Sequence[Plugin | About] = (), observe: Observe | None = None,
    ) -> None:  # fmt: skip
        """`observe` is told how long each rule took and whether it refused."""
        self._observe = observe
        self._plugins = Phase(plugins, "admit")
        self._judges = Phase(judges, "judge")
        self._last = Phase(last, "admit")

    async def admit(self, request: Request, obj: Any, old: Any) -> None:
        """The first phase, before validation. Raises the first refusal; `obj` is then of no use any more."""
        request.reinvocation = reinvocation = Reinvocation()
        plugins = self._plugins.of(request.kind)
        await self._run("admit", plugins, request, obj, old)
        if reinvocation.wanted:
            reinvocation.second = True
            await self._run("admit", plugins, request, obj, old)
        await self._run("admit", self._last.of(request.kind), request, obj, old)

    async def pass_(self, request: Request, obj: Any, old: Any) -> None:
        """Both phases, of what is not stored and has no rules in between."""
        await self.admit(request, obj, old)
        await self.judge(request, obj, old)

    async def judge(self, request: Request, obj: Any, old: Any) -> None:
        """The second phase, after validation and before the transaction. Raises the first refusal."""
        await self._run("validate", self._judges.of(request.kind), request, obj, old)

    async def _run(self, phase: str, steps: Steps, request: Request, obj: Any, old: Any) -> None:
        observe, began = self._observe, perf_counter()
        for name, work in steps:
            refused = True
            try:
                await work(request, obj, old)
                refused = False
            finally:
                if observe is not None:
                    ended = perf_counter()
                    observe(ended - began, phase, name, request.verb, refused)
                    began = ended


def standard(
    reader: Ledger,
    *,
    service_cluster_ip_range: str,
    service_node_port_range: str,
    guards: Sequence[Plugin | About] = (),
    judges: Sequence[Judge | About] = (),
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
            About(limits, PODS),
            About(ServiceAccounts(reader, mount_tokens=mount_tokens), PODS),
            About(TaintNodesByCondition(), NODES),
            About(Priority(reader), PODS, PRIORITY_CLASSES, POD_GROUPS),
            About(DefaultTolerationSeconds(), PODS),
            About(DefaultStorageClass(reader), CLAIMS),
            About(StorageObjectInUseProtection(), *FINALIZERS),
            About(runtimes, PODS),
            About(DefaultIngressClass(reader), INGRESSES),
            About(PodTopologyLabels(reader), PODS),
            *mutating,
        ],
        # Whoever charges comes last, when nobody else can refuse any more.
        [
            *judges,
            About(DeviceAdminAccess(reader), DEVICE_CLAIMS, TEMPLATES),
            About(limits, PODS, CLAIMS),
            About(PodSecurity(reader), NAMESPACES, PODS, *WITH_TEMPLATES),
            About(PersistentVolumeClaimResize(reader), CLAIMS),
            About(runtimes, PODS),
            About(PodResizeValidator(reader), PODS),
            *validating,
            ResourceQuotas(reader),
        ],
        # What it allocates must fit what the object is in the end.
        last=[About(ServiceAddresses(reader, service_cluster_ip_range, service_node_port_range), SERVICES)],
        observe=observe,
    )
