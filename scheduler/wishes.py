"""A pod as the plug-ins see it: everything in its spec that decides where it may go, prepared once.

https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from api import volumes
from api.labels import EVERYTHING, NOTHING, Requirement, Selector, from_object
from api.meta import Key, key
from api.types import Pod, PodAffinityTerm, Toleration, TopologySpreadConstraint
from scheduler import resources
from scheduler.resources import Amounts

HOSTNAME, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"


class HostPort(NamedTuple):
    protocol: str
    port: int
    address: str  # 0.0.0.0: every address


class Term(NamedTuple):
    """Pods in those namespaces that the selector matches, gathered by a topology key."""

    namespaces: frozenset[str]
    namespace_selector: Selector  # namespaces beside those; NOTHING unless asked for
    selector: Selector
    topology: str


class Weighted(NamedTuple):
    term: Term
    weight: int


class Spread(NamedTuple):
    selector: Selector
    topology: str
    max_skew: int
    required: bool
    min_domains: int = 1
    honor_affinity: bool = True
    honor_taints: bool = False
    default: bool = False
    """One of the system's own, which also compare nodes that lack the label."""


# Upstream's system defaults; they take effect for pods that belong to something.
SYSTEM_SPREADS = (
    Spread(EVERYTHING, HOSTNAME, 3, required=False, default=True),
    Spread(EVERYTHING, ZONE, 5, required=False, default=True),
)


@dataclass(frozen=True, slots=True, eq=False)
class Wish:
    """Compare by identity: there is one for each revision of a pod."""

    pod: Pod
    key: Key
    priority: int
    labels: Mapping[str, str]
    requests: Amounts
    compared: Amounts  # requests, with what stands in for unstated ones: for scores
    host_ports: tuple[HostPort, ...]
    images: tuple[str, ...]
    affinity: tuple[Term, ...]
    anti_affinity: tuple[Term, ...]
    preferences: tuple[Weighted, ...]  # negative weights are preferred anti-affinity
    spreads: tuple[Spread, ...]
    claims: tuple[str, ...]
    terminating: bool

    @property
    def namespace(self) -> str:
        return self.key.namespace

    @property
    def spreads_strictly(self) -> bool:
        return any(spread.required for spread in self.spreads)

    @property
    def tolerations(self) -> list[Toleration]:
        return self.pod.spec.tolerations


def wish(pod: Pod, group: Selector = EVERYTHING, defaults: tuple[Spread, ...] = SYSTEM_SPREADS) -> Wish:
    """`group` selects the pods of the same owners and services; the pod spreads from those, by `defaults`, if it says
    nothing else."""
    spec, labels = pod.spec, pod.metadata.labels
    given, own = spec.affinity, pod.metadata.namespace
    together = given.podAffinity if given is not None else None
    apart = given.podAntiAffinity if given is not None else None
    preferred = [(p, 1) for p in together.preferredDuringSchedulingIgnoredDuringExecution] if together else []
    preferred += [(p, -1) for p in apart.preferredDuringSchedulingIgnoredDuringExecution] if apart else []
    requests = resources.requests(pod)
    return Wish(
        pod=pod,
        key=key(pod),
        priority=spec.priority or 0,
        labels=labels,
        requests=requests,
        compared=requests if resources.says_all(pod) else resources.requests(pod, resources.UNSTATED),
        host_ports=_host_ports(pod),
        images=tuple(tagged(c.image) for c in (*spec.initContainers, *spec.containers)),
        affinity=_terms(together, own, labels),
        anti_affinity=_terms(apart, own, labels),
        preferences=tuple(
            Weighted(_term(p.podAffinityTerm, own, labels), sign * p.weight)
            for p, sign in preferred
            if p.podAffinityTerm is not None
        ),
        spreads=tuple(_spread(s, labels) for s in spec.topologySpreadConstraints)
        or tuple(spread._replace(selector=group) for spread in defaults if group),
        claims=tuple(dict.fromkeys(volumes.claim_names(pod))),
        terminating=bool(pod.metadata.deletionTimestamp),
    )


def tagged(image: str) -> str:
    """The name that nodes report: with a tag, unless it has a digest or one already."""
    return image if ":" in image.rpartition("/")[2] or "@" in image else f"{image}:latest"


def _host_ports(pod: Pod) -> tuple[HostPort, ...]:
    containers = [c for c in pod.spec.initContainers if c.restartPolicy == "Always"] + pod.spec.containers
    return tuple(
        HostPort(p.protocol or "TCP", p.hostPort, p.hostIP or "0.0.0.0")  # noqa: S104
        for c in containers
        for p in c.ports
        if p.hostPort
    )


def _terms(affinity: Any, own: str, labels: Mapping[str, str]) -> tuple[Term, ...]:
    if affinity is None:
        return ()
    return tuple(_term(t, own, labels) for t in affinity.requiredDuringSchedulingIgnoredDuringExecution)


def _term(term: PodAffinityTerm, own: str, labels: Mapping[str, str]) -> Term:
    selector = with_keys(from_object(term.labelSelector), term.matchLabelKeys, labels, "in")
    selector = with_keys(selector, term.mismatchLabelKeys, labels, "notin")
    beside = NOTHING if term.namespaceSelector is None else from_object(term.namespaceSelector)
    # Neither names nor a selector mean the pod's own namespace.
    names = frozenset(term.namespaces) or (frozenset({own}) if beside.nothing else frozenset())
    return Term(names, beside, selector, term.topologyKey)


def _spread(given: TopologySpreadConstraint, labels: Mapping[str, str]) -> Spread:
    return Spread(
        selector=with_keys(from_object(given.labelSelector), given.matchLabelKeys, labels, "in"),
        topology=given.topologyKey,
        max_skew=given.maxSkew,
        required=given.whenUnsatisfiable != "ScheduleAnyway",
        min_domains=given.minDomains or 1,
        honor_affinity=given.nodeAffinityPolicy != "Ignore",
        honor_taints=given.nodeTaintsPolicy == "Honor",
    )


def with_keys(selector: Selector, keys: list[str], labels: Mapping[str, str], operator: str) -> Selector:
    """The selector narrowed to pods whose labels of these keys are (or are not) the pod's own."""
    more = tuple(Requirement(k, operator, frozenset({labels[k]})) for k in keys if k in labels)
    return Selector(selector.requirements + more, selector.nothing)
