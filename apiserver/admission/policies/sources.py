"""The policies and bindings that the watch cache has, compiled, and indexed by the resources that they are about."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from api import labels
from api.kinds import Kind
from apiserver.admission.attributes import Attributes
from apiserver.admission.matching import ALL, matching_kind, namespace_matches, object_matches
from apiserver.admission.policies import compiling
from apiserver.admission.policies.compiling import Matching, Policy
from apiserver.admission.webhooks.forms import Forms
from apiserver.admission.webhooks.hooks import GROUP, Source

SELF_CONCERNED = frozenset(
    {
        "validatingadmissionpolicies", "validatingadmissionpolicybindings",
        "mutatingadmissionpolicies", "mutatingadmissionpolicybindings",
    }
)  # fmt: skip
"""What policies never apply to: a broken one could not be removed any more."""
REVIEWS = frozenset({"authentication.k8s.io", "authorization.k8s.io"})


@dataclass(frozen=True, slots=True)
class Binding:
    name: str
    source: Any
    matching: Matching | None


@dataclass(frozen=True, slots=True)
class Bound:
    """A policy with its bindings, in the order of their names. Without any it does nothing."""

    policy: Policy
    bindings: tuple[Binding, ...]


def is_exempt(kind: Kind) -> bool:
    return kind.group in REVIEWS or (kind.group == GROUP and kind.plural in SELF_CONCERNED)


class Policies:
    """`of` costs two look-ups where no policy is about a resource."""

    def __init__(self, source: Source, policies: Kind, bindings: Kind) -> None:
        self._source = source
        self._kinds = policies, bindings
        self._versions = (-1, -1)
        self._bound: list[Bound] = []
        self._compiled: dict[str, tuple[str, Policy]] = {}
        self._by_resource: dict[tuple[str, str], tuple[Bound, ...]] = {}

    def of(self, kind: Kind, equivalents: Callable[[Kind], Iterable[Kind]]) -> tuple[Bound, ...]:
        """Those that may be about a kind or one of its equivalents, in the order of the policies' names."""
        policies, bindings = self._kinds
        versions = self._source.version(policies), self._source.version(bindings)
        if versions != self._versions:
            self._refresh()
            self._versions = versions
        if not self._bound:
            return ()
        found = self._by_resource.get((kind.group, kind.plural))
        if found is None:
            resources = {(k.group, k.plural) for k in (kind, *equivalents(kind))}
            found = tuple(b for b in self._bound if any(_about(b.policy.matching, *r) for r in resources))
            self._by_resource[kind.group, kind.plural] = found
        return found

    def _refresh(self) -> None:
        policies, bindings = self._kinds
        by_policy: dict[str, list[Binding]] = {}
        for binding in sorted(self._source.list_cached(bindings), key=lambda b: b.metadata.name):
            found = Binding(binding.metadata.name, binding, compiling.matching(binding.spec.matchResources))
            by_policy.setdefault(binding.spec.policyName, []).append(found)
        compiled: dict[str, tuple[str, Policy]] = {}
        self._bound = []
        for policy in sorted(self._source.list_cached(policies), key=lambda p: p.metadata.name):
            name = policy.metadata.name
            if name in by_policy:
                compiled[name] = self._compile(policy)
                self._bound.append(Bound(compiled[name][1], tuple(by_policy[name])))
        self._compiled = compiled
        self._by_resource.clear()

    def _compile(self, policy: Any) -> tuple[str, Policy]:
        metadata = policy.metadata
        revision = f"{metadata.uid}/{metadata.generation or metadata.resourceVersion}"
        known = self._compiled.get(metadata.name)
        return known if known is not None and known[0] == revision else (revision, compiling.policy(policy))


def _about(matching: Matching | None, group: str, resource: str) -> bool:
    if matching is None or not matching.rules:
        return True
    return any(
        (group in rule.apiGroups or ALL in rule.apiGroups)
        and any(r.partition("/")[0] in (ALL, resource) for r in rule.resources)
        for rule in matching.rules
    )


async def shown_as(matching: Matching | None, about: Attributes, forms: Forms, source: Source) -> Kind | None:
    """The kind as which the objects are to be looked at; None if it is not about the request.

    Raises NotFound if the request's namespace is asked about, and is not there.
    """
    if matching is None:
        return about.asked
    if not object_matches(matching.objects, about):
        return None
    equivalents = () if matching.exact else forms.equivalents(about.asked)
    if _match(matching.excluded, about, equivalents) is not None:
        return None
    kind = _match(matching.rules, about, equivalents) if matching.rules else about.asked
    if kind is None or not await namespace_matches(matching.namespaces, about, source):
        return None
    return kind


def _match(rules: Iterable[Any], about: Attributes, equivalents: Iterable[Kind]) -> Kind | None:
    named = [rule for rule in rules if not rule.resourceNames or about.name in rule.resourceNames]
    return matching_kind(named, about, equivalents)


class ParamFault(Exception):
    """The parameters that a binding names cannot be had. The message says why; `of_policy` whose fault it is."""

    def __init__(self, message: str, *, of_policy: bool = False) -> None:
        super().__init__(message)
        self.of_policy = of_policy


FindKind = Callable[[str, str], Kind | None]


class Params:
    """Finds the parameter objects of bindings."""

    def __init__(self, source: Source, forms: Forms, find: FindKind, stored: Callable[[Kind], Kind]) -> None:
        self._source = source
        self._forms = forms
        self._find = find
        self._stored = stored

    async def of(self, policy: Policy, binding: Binding, namespace: str) -> list[Mapping[str, Any] | None]:
        """One evaluation for each: [None] if there is nothing to find.  Raises ParamFault."""
        wanted, ref = policy.source.spec.paramKind, binding.source.spec.paramRef
        if wanted is None:
            return [None]
        kind = self._find(wanted.apiVersion, wanted.kind)
        if kind is None:
            group, slash, version = wanted.apiVersion.rpartition("/")
            named = f"{group}{slash or '/'}{version}, Kind={wanted.kind}"
            raise ParamFault(f"failed to find resource referenced by paramKind: '{named}'", of_policy=True)
        if ref is None:
            return [None]
        within = self._namespace(kind, ref, namespace)
        found = await self._found(self._stored(kind), ref, within)
        if not found and ref.parameterNotFoundAction == "Deny":
            raise ParamFault("no params found for policy binding with `Deny` parameterNotFoundAction")
        return [await self._forms.show(kind, obj) for obj in found]

    def _namespace(self, kind: Kind, ref: Any, namespace: str) -> str:
        if not kind.namespaced:
            if ref.namespace:
                raise ParamFault("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
            return ""
        within = ref.namespace or namespace
        if not within:
            raise ParamFault("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources")
        return str(within)

    async def _found(self, kind: Kind, ref: Any, namespace: str) -> list[Any]:
        if ref.name:
            found = self._source.get_cached(kind, namespace, ref.name)
            if found is None:
                found = await self._source.get_fresh(kind, namespace, ref.name)
            return [found] if found is not None else []
        selector = labels.from_object(ref.selector)
        listed = self._source.list_within(kind, namespace) if namespace else self._source.list_cached(kind)
        return [obj for obj in listed if selector.matches(obj.metadata.labels)]
