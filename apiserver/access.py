"""Who asks and what they may: the doors' authenticator and authorizer, put together from flags and the watch cache."""

from collections.abc import Sequence
from dataclasses import dataclass

from api import kinds
from api.types import Pod
from apiserver.admission import About, Judge, Plugin
from apiserver.admission.devices import SLICES, DeviceTaints
from apiserver.authentication import Accounts, Authenticator, Keys, Proxies
from apiserver.authorization import Authorizer, First, Masters
from apiserver.authorization.claim_statuses import CLAIMS, ClaimStatuses
from apiserver.authorization.escalation import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    ROLE_BINDINGS,
    ROLES,
    Escalation,
)
from apiserver.authorization.nodes import Nodes
from apiserver.authorization.rbac import KINDS, Rbac
from apiserver.authorization.restriction import NodeRestriction
from apiserver.authorization.signing import REQUESTS, SignerGuard, SigningRequests
from apiserver.config import Config
from apiserver.registry.objects import Objects
from apiserver.storage.transactions import Store
from apiserver.storage.worlds import World
from machinery.clocks import Clock

PODS = kinds.of(Pod)


@dataclass(frozen=True, slots=True)
class Access:
    authenticate: Authenticator
    authorizer: Authorizer
    guards: Sequence[Plugin | About]
    """Rules of admission that depend on who asks and what they may; `judges` of its second phase."""
    judges: Sequence[Judge | About]
    keys: Keys | None


def access(config: Config, world: World, store: Store, clock: Clock) -> Access:
    """Raises ValueError, OSError for files that cannot be used."""
    objects = Objects(world, store)
    keys = None
    if config.account_signing_key is not None:
        keys = Keys(config.account_issuer, config.account_signing_key, config.account_keys)
    accounts = Accounts(keys, objects, clock) if keys is not None else None
    tables = [world.resource(kind).table for kind in KINDS]
    rbac = Rbac(objects, lambda: tuple([table.version for table in tables]))
    authorizer = First([Masters(), Nodes(lambda node: objects.list_bound(PODS, node), objects), rbac])
    granting = (ROLES, CLUSTER_ROLES, ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS)
    guards = (
        About(SigningRequests(clock), REQUESTS), NodeRestriction(objects),
        About(Escalation(authorizer, rbac), *granting), About(DeviceTaints(clock), SLICES),
    )  # fmt: skip
    judges = About(SignerGuard(authorizer), REQUESTS), About(ClaimStatuses(authorizer), CLAIMS)
    proxies = Proxies(config.proxies) if config.proxies is not None else None
    who = Authenticator(config.tokens, accounts, proxies, config.client_ca, anonymous=config.anonymous, clock=clock)
    return Access(who, authorizer, guards, judges, keys)
