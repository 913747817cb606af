"""API servers behind this one: APIService objects say which group's versions others serve.

    routes        which path goes where
    registering   the APIServices of what is served here: they are made by the server itself, and come back
    checking      whether the others answer, and what they serve
    merging       their discovery and OpenAPI documents among ours
    proxying      requests carried on to them, with the user's identity in headers

https://kubernetes.io/docs/concepts/extend-kubernetes/api-extension/apiserver-aggregation/
"""

from dataclasses import dataclass
from pathlib import Path

from apiserver.aggregation.checking import Checker, Servers
from apiserver.aggregation.merging import Merger
from apiserver.aggregation.proxying import Aggregator
from apiserver.aggregation.registering import Registrar
from apiserver.aggregation.routes import Routes
from apiserver.authorization import Authorizer
from apiserver.outgoing import Outgoing
from apiserver.registry import Registry
from machinery.clocks import Clock

__all__ = ["Aggregation", "Registrar", "assemble"]


@dataclass(frozen=True, slots=True)
class Aggregation:
    checker: Checker
    """To be run."""
    aggregator: Aggregator
    merger: Merger


def assemble(
    out: Outgoing, registry: Registry, authorizer: Authorizer, files: tuple[Path | None, Path | None], clock: Clock
) -> Aggregation:
    """`files` are the certificate and its key that this server shows to the others."""
    objects = registry.objects
    routes, servers = Routes(objects), Servers(out, *files)
    checker = Checker(routes, servers, objects, registry, clock)
    return Aggregation(checker, Aggregator(routes, servers, checker, authorizer), Merger(routes, checker))
