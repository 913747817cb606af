"""Which requests a rule of a webhook or an admission policy is about.

https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#matching-requests-rules
"""

from collections.abc import Iterable
from typing import Any, Protocol

from api import errors, kinds
from api.kinds import Kind
from api.labels import Selector
from api.types import Namespace
from apiserver.admission.attributes import CREATE, UPDATE, Attributes
from apiserver.admission.reading import Reader, find

NAMESPACES = kinds.of(Namespace)
ALL = "*"


class Rule(Protocol):
    """A RuleWithOperations; "" as its scope means every scope."""

    @property
    def operations(self) -> list[str]: ...
    @property
    def apiGroups(self) -> list[str]: ...
    @property
    def apiVersions(self) -> list[str]: ...
    @property
    def resources(self) -> list[str]: ...
    @property
    def scope(self) -> str: ...


def matching_kind(rules: Iterable[Rule], about: Attributes, equivalents: Iterable[Kind] = ()) -> Kind | None:
    """The kind as which the first rule that matches wants the objects; None if none does.

    `equivalents` are the other kinds under which the same objects are served, for matchPolicy Equivalent: only if no
    rule names the kind that was asked for.
    """
    rules = list(rules)
    if any(matches(rule, about, about.asked) for rule in rules):
        return about.asked
    others = [kind for kind in equivalents if kind != about.asked]
    return next((kind for rule in rules for kind in others if matches(rule, about, kind)), None)


def matches(rule: Rule, about: Attributes, kind: Kind) -> bool:
    return (
        _names(rule.operations, about.operation)
        and _names(rule.apiGroups, kind.group)
        and _names(rule.apiVersions, kind.version)
        and any(_resource(pattern, kind.plural, about.subresource) for pattern in rule.resources)
        and _in_scope(rule.scope, about)
    )


def _names(patterns: list[str], word: str) -> bool:
    return word in patterns or ALL in patterns


def _resource(pattern: str, resource: str, subresource: str) -> bool:
    wanted, _, part = pattern.partition("/")
    return wanted in (ALL, resource) and part in (ALL, subresource)


def _in_scope(scope: str, about: Attributes) -> bool:
    """A Namespace counts as cluster-scoped, although requests about one are said to be in it."""
    if scope == "Namespaced":
        return bool(about.namespace) and not about.is_namespace
    if scope == "Cluster":
        return not about.namespace or about.is_namespace
    return True


async def namespace_matches(selector: Selector, about: Attributes, reader: Reader) -> bool:
    """Whether the request's namespace has the labels. What is in no namespace is not exempt.

    Raises NotFound where the namespace is not there.
    """
    if not selector or (not about.namespace and not about.is_namespace):
        return True
    if about.is_namespace and not about.subresource and about.operation in (CREATE, UPDATE):
        return selector.matches(about.obj.metadata.labels)  # nobody else has seen it so far
    namespace = await find(reader, NAMESPACES, "", about.namespace)
    if namespace is None:
        raise errors.not_found("namespaces", about.namespace)
    return selector.matches(namespace.metadata.labels)


def object_matches(selector: Selector, about: Attributes) -> bool:
    """Whether the object has the labels, or had them."""
    return not selector or any(_labelled(selector, each) for each in (about.obj, about.old))


def _labelled(selector: Selector, obj: Any) -> bool:
    metadata = getattr(obj, "metadata", None)
    return metadata is not None and selector.matches(metadata.labels)
