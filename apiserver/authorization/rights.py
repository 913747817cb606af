"""What one user may do, by rules.  Pure.

https://kubernetes.io/docs/reference/access-authn-authz/rbac/
"""

from collections.abc import Iterable, Iterator

from api.types import PolicyRule
from apiserver.authorization.deciding import Decision
from apiserver.requests import Request
from machinery.remembering import LONGEST

ANY = "*"
REMEMBERED = 4096


class Grant:
    """One rule, and by which binding it is held."""

    __slots__ = ("groups", "names", "reason", "resources", "rule", "urls", "verbs")

    def __init__(self, rule: PolicyRule, reason: str) -> None:
        self.rule = rule
        self.reason = reason
        self.verbs = frozenset(rule.verbs)
        self.groups = frozenset(rule.apiGroups)
        self.resources = frozenset(rule.resources)
        self.names = frozenset(rule.resourceNames)
        self.urls = tuple(rule.nonResourceURLs)

    def covers(self, verb: str, group: str, resource: str, subresource: str) -> bool:
        """Leaves `names` aside."""
        if verb not in self.verbs and ANY not in self.verbs:
            return False
        if group not in self.groups and ANY not in self.groups:
            return False
        resources = self.resources
        if not subresource:
            return resource in resources or ANY in resources
        return f"{resource}/{subresource}" in resources or ANY in resources or f"*/{subresource}" in resources

    def covers_path(self, verb: str, path: str) -> bool:
        if verb not in self.verbs and ANY not in self.verbs:
            return False
        return any(u in (ANY, path) or (u.endswith(ANY) and path.startswith(u[:-1])) for u in self.urls)


class Rights:
    """`everywhere` are held through cluster role bindings, `within` by namespace; `faults` say which roles are bound
    but do not exist ("" for those of cluster role bindings)."""

    def __init__(self, everywhere: list[Grant], within: dict[str, list[Grant]], faults: dict[str, list[str]]) -> None:
        self.everywhere = everywhere
        self.within = within
        self.faults = faults
        self._known: dict[tuple[str, str, str, str, str], tuple[Decision, list[Grant]]] = {}

    def decide(self, request: Request) -> Decision:
        if request.path:
            return self._path(request.verb, request.path)
        kind = request.kind
        asked = (request.verb, kind.group, kind.plural, request.subresource, request.namespace)
        known = self._known.get(asked)
        if known is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            known = self._look(*asked)
            if len(request.namespace) <= LONGEST:
                self._known[asked] = known
        decision, named = known
        if not decision.allowed and named and (name := request.asked_name):
            for grant in named:
                if name in grant.names:
                    return Decision(True, grant.reason)
        return decision

    def grants(self, namespace: str) -> Iterator[Grant]:
        yield from self.everywhere
        if namespace:
            yield from self.within.get(namespace, ())

    def refusals(self, namespace: str) -> list[str]:
        return [*self.faults.get("", ()), *(self.faults.get(namespace, ()) if namespace else ())]

    def _look(
        self, verb: str, group: str, resource: str, subresource: str, namespace: str
    ) -> tuple[Decision, list[Grant]]:
        """The decision for any name, and the grants that allow it for some."""
        named = []
        for grant in self.grants(namespace):
            if grant.covers(verb, group, resource, subresource):
                if not grant.names:
                    return Decision(True, grant.reason), []
                named.append(grant)
        return self._refused(namespace), named

    def _path(self, verb: str, path: str) -> Decision:
        for grant in self.everywhere:
            if grant.urls and grant.covers_path(verb, path):
                return Decision(True, grant.reason)
        return self._refused("")

    def _refused(self, namespace: str) -> Decision:
        faults = self.refusals(namespace)
        return Decision(False, f"RBAC: {aggregate(faults)}" if faults else "")


def aggregate(faults: list[str]) -> str:
    return faults[0] if len(faults) == 1 else f"[{', '.join(faults)}]"


def missing(held: Iterable[PolicyRule], wanted: Iterable[PolicyRule]) -> list[PolicyRule]:
    """The parts of `wanted`, in their smallest pieces, that no rule in `held` covers."""
    grants = [Grant(rule, "") for rule in held]
    return [piece for rule in wanted for piece in _pieces(rule) if not any(_holds(g, piece) for g in grants)]


def _pieces(rule: PolicyRule) -> Iterator[PolicyRule]:
    for verb in rule.verbs:
        for url in rule.nonResourceURLs:
            yield PolicyRule(verbs=[verb], nonResourceURLs=[url])
        for group in rule.apiGroups:
            for resource in rule.resources:
                for name in rule.resourceNames or [""]:
                    names = [name] if name else []
                    yield PolicyRule(verbs=[verb], apiGroups=[group], resources=[resource], resourceNames=names)


def _holds(grant: Grant, piece: PolicyRule) -> bool:
    verb = piece.verbs[0]
    if piece.nonResourceURLs:
        return grant.covers_path(verb, piece.nonResourceURLs[0])
    resource, _, subresource = piece.resources[0].partition("/")
    if not grant.covers(verb, piece.apiGroups[0], resource, subresource):
        return False
    return not grant.names or (bool(piece.resourceNames) and piece.resourceNames[0] in grant.names)


def compact(pieces: Iterable[PolicyRule]) -> list[PolicyRule]:
    """Pieces that differ only in their verb as one rule."""
    found: dict[tuple[str, ...], PolicyRule] = {}
    for piece in pieces:
        key = (*piece.apiGroups, "|", *piece.resources, "|", *piece.resourceNames, "|", *piece.nonResourceURLs)
        if (known := found.get(key)) is None:
            found[key] = PolicyRule(
                verbs=list(piece.verbs), apiGroups=piece.apiGroups, resources=piece.resources,
                resourceNames=piece.resourceNames, nonResourceURLs=piece.nonResourceURLs,
            )  # fmt: skip
        else:
            known.verbs += [v for v in piece.verbs if v not in known.verbs]
    return list(found.values())


def described(rule: PolicyRule) -> str:
    """`{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`"""
    parts = (
        ("APIGroups", rule.apiGroups), ("Resources", rule.resources), ("NonResourceURLs", rule.nonResourceURLs),
        ("ResourceNames", rule.resourceNames), ("Verbs", rule.verbs),
    )  # fmt: skip
    return "{" + ", ".join(f"{name}:{quoted(values)}" for name, values in parts if values) + "}"


def quoted(values: Iterable[str]) -> str:
    return "[" + " ".join(f'"{value}"' for value in values) + "]"
