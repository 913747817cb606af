"""The ordered lists of admission rules: those that may change an object, then those that only judge the outcome.

https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#admission-control-phases
"""

from collections.abc import Sequence
from typing import Any, Protocol

from apiserver.admission.namespaces import NamespaceLifecycle
from apiserver.admission.priorities import Priority
from apiserver.admission.reading import Reader
from apiserver.admission.service_accounts import ServiceAccounts
from apiserver.admission.services import ServiceAddresses
from apiserver.admission.tolerations import DefaultTolerationSeconds
from apiserver.requests import Request


class Plugin(Protocol):
    """One rule. `admit` changes `obj` in place or raises an ApiError.

    `obj` is None on deletion, `old` is None on creation.  `old` is shared and stays as it is.
    """

    async def admit(self, request: Request, obj: Any, old: Any) -> None: ...


class Judge(Protocol):
    """One rule of the second phase: it sees an object that is valid and complete, and changes nothing."""

    async def judge(self, request: Request, obj: Any, old: Any) -> None: ...


class Admission:
    """All rules, one after the other."""

    def __init__(self, plugins: Sequence[Plugin], judges: Sequence[Judge] = ()) -> None:
        self.plugins = tuple(plugins)
        self.judges = tuple(judges)

    async def admit(self, request: Request, obj: Any, old: Any) -> None:
        """The first phase, before validation. Raises the first refusal; `obj` is then of no use any more."""
        for plugin in self.plugins:
            await plugin.admit(request, obj, old)

    async def judge(self, request: Request, obj: Any, old: Any) -> None:
        """The second phase, after validation and before the transaction. Raises the first refusal."""
        for judge in self.judges:
            await judge.judge(request, obj, old)


def standard(
    reader: Reader,
    *,
    service_cluster_ip_range: str,
    service_node_port_range: str,
    guards: Sequence[Plugin] = (),
    mount_tokens: bool = False,
) -> Admission:
    """Upstream's default plug-ins in upstream's order, then the allocation of addresses for services.

    `service_cluster_ip_range` is one CIDR, or two of different families for dual stack, comma-separated;
    `service_node_port_range` is `30000-32767` or `30000+2767`.  `guards` come first.  `mount_tokens`
    if service account tokens can be had.  Raises ValueError.
    """
    return Admission(
        [
            *guards,
            NamespaceLifecycle(reader),
            ServiceAccounts(reader, mount_tokens=mount_tokens),
            Priority(reader),
            DefaultTolerationSeconds(),
            ServiceAddresses(reader, service_cluster_ip_range, service_node_port_range),
        ],
        [],
    )
