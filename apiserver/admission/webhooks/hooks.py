"""The webhooks of all configurations, compiled once for each state of the watch cache."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from api import labels
from api.kinds import Kind
from api.labels import Selector
from apiserver.admission.matching import ALL, Rule
from apiserver.admission.reading import Reader
from apiserver.webhooks.calling import ClientConfig

GROUP = "admissionregistration.k8s.io"


class Source(Reader, Protocol):
    def version(self, kind: Kind) -> int:
        """Grows with every change of any object of the kind."""
        ...


@dataclass(frozen=True, slots=True)
class Hook:
    uid: str
    """Distinct for every webhook of every configuration, and the same as long as neither is renamed."""
    configuration: str
    name: str
    client_config: ClientConfig
    rules: Sequence[Rule]
    namespaces: Selector
    objects: Selector
    conditions: Sequence[Any]
    fails_open: bool
    timeout: float
    exact: bool
    """matchPolicy Exact."""
    reinvoked: bool
    dry_runs: bool
    versions: Sequence[str]


class Hooks:
    """`of` costs two look-ups where no hook is about a resource."""

    def __init__(self, source: Source, kind: Kind) -> None:
        self._source = source
        self._kind = kind
        self._version = -1
        self._by_resource: dict[tuple[str, str], tuple[Hook, ...]] = {}
        self._hooks: list[Hook] = []

    def of(self, kind: Kind, equivalents: Callable[[Kind], Iterable[Kind]]) -> tuple[Hook, ...]:
        """Those that may be about a kind or one of its equivalents, in the order of their configurations' names."""
        version = self._source.version(self._kind)
        if version != self._version:
            self._hooks = list(_compiled(self._source.list_cached(self._kind)))
            self._by_resource.clear()
            self._version = version
        if not self._hooks:
            return ()
        found = self._by_resource.get((kind.group, kind.plural))
        if found is None:
            resources = {(k.group, k.plural) for k in (kind, *equivalents(kind))}
            found = tuple(h for h in self._hooks if any(_about(rule, *r) for rule in h.rules for r in resources))
            self._by_resource[kind.group, kind.plural] = found
        return found


def _compiled(configurations: Iterable[Any]) -> Iterable[Hook]:
    for configuration in sorted(configurations, key=lambda c: c.metadata.name):
        counts: dict[str, int] = {}
        for webhook in configuration.webhooks:
            number = counts[webhook.name] = counts.get(webhook.name, -1) + 1
            yield _hook(configuration.metadata.name, number, webhook)


def _hook(configuration: str, number: int, webhook: Any) -> Hook:
    return Hook(
        uid=f"{configuration}/{webhook.name}/{number}",
        configuration=configuration,
        name=webhook.name,
        client_config=webhook.clientConfig,
        rules=webhook.rules,
        namespaces=_selector(webhook.namespaceSelector),
        objects=_selector(webhook.objectSelector),
        conditions=webhook.matchConditions,
        fails_open=webhook.failurePolicy == "Ignore",
        timeout=float(webhook.timeoutSeconds or 10),
        exact=webhook.matchPolicy == "Exact",
        reinvoked=getattr(webhook, "reinvocationPolicy", "") == "IfNeeded",
        dry_runs=webhook.sideEffects in ("None", "NoneOnDryRun"),
        versions=webhook.admissionReviewVersions,
    )


def _selector(selector: Any) -> Selector:
    return labels.EVERYTHING if selector is None else labels.from_object(selector)


def _about(rule: Rule, group: str, resource: str) -> bool:
    groups = rule.apiGroups
    return (group in groups or ALL in groups) and any(r.partition("/")[0] in (ALL, resource) for r in rule.resources)
