"""What is let through and yet is probably not meant: the words that kubectl prints as `Warning: …`.

Upstream's, for pods and for the templates of pods; those about custom objects are `customs.objects.warnings`.
https://kubernetes.io/blog/2020/09/03/warnings/
"""

from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any, NamedTuple

from api import quantities
from api.kinds import Kind
from api.paths import Path, show
from api.types import Affinity, Container, NodeSelectorTerm, ObjectMeta, PodSpec
from apiserver.customs import definitions

NODE_LABELS = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
}
ANNOTATIONS = {
    "scheduler.alpha.kubernetes.io/critical-pod": 'non-functional in v1.16+; use the "priorityClassName" field instead',
    "security.alpha.kubernetes.io/sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
    "security.alpha.kubernetes.io/unsafe-sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
}
VOLUMES = {
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "gitRepo": "deprecated in v1.11",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
}
BYTES = ("memory", "ephemeral-storage")
NO_SELECTOR = "a null labelSelector results in matching no pod"
WORKLOADS = {"DaemonSet", "Deployment", "Job", "ReplicaSet", "ReplicationController", "StatefulSet"}


class _Given(NamedTuple):
    """A port of a container."""

    number: int
    at: Path
    ip: str
    on_host: int


def about(kind: Kind, new: Any, old: Any | None) -> Iterator[str]:
    """Of a pod at each write, of a template or a definition when what its object demands was changed."""
    if (kind.group, kind.name) == ("", "Pod"):
        yield from _pod(Path(), new.metadata, new.spec)
    elif old is not None and new.metadata.generation == old.metadata.generation:
        return
    elif kind.name == "CustomResourceDefinition":
        yield from definitions.warnings(new, old)
    elif (kind.group, kind.name) == ("resource.k8s.io", "ResourceSlice"):
        yield from _driver(new.spec.driver)
    else:
        at, template = _template(kind, new)
        if template is not None:
            yield from _pod(at, template.metadata or ObjectMeta(), template.spec or PodSpec())


def _driver(name: str) -> Iterator[str]:
    if name != name.lower():
        yield f"spec.driver: driver names should be lowercase; {show(name)} contains uppercase characters"


def _template(kind: Kind, obj: Any) -> tuple[Path, Any]:
    if kind.group in ("", "apps", "batch") and kind.name in WORKLOADS:
        return Path("spec.template"), obj.spec.template
    if (kind.group, kind.name) == ("batch", "CronJob"):
        job = obj.spec.jobTemplate
        return Path("spec.jobTemplate.spec.template"), job.spec.template if job is not None else None
    return Path("template"), obj.template if (kind.group, kind.name) == ("", "PodTemplate") else None


def _pod(at: Path, metadata: ObjectMeta, spec: PodSpec) -> Iterator[str]:
    inside = at.child("spec")
    for label in sorted(spec.nodeSelector):
        if why := NODE_LABELS.get(label):
            yield f"{inside.child('nodeSelector').key(label)}: {why}"
    yield from _node_affinity(inside.child("affinity", "nodeAffinity"), spec.affinity)
    for i, constraint in enumerate(spec.topologySpreadConstraints):
        here = inside.child("topologySpreadConstraints").index(i)
        if why := NODE_LABELS.get(constraint.topologyKey):
            yield f"{here.child('topologyKey')}: {constraint.topologyKey} is {why}"
        if constraint.labelSelector is None:
            yield f"{here.child('labelSelector')}: {NO_SELECTOR}"
    for name, why in ANNOTATIONS.items():
        if name in metadata.annotations:
            yield f"{at.child('metadata', 'annotations').key(name)}: {why}"
    for i, volume in enumerate(spec.volumes):
        for source, why in VOLUMES.items():
            if getattr(volume, source) is not None:
                yield f"{inside.child('volumes').index(i).child(source)}: {why}"
    yield from _twice(inside.child("hostAliases"), "ip", [alias.ip for alias in spec.hostAliases])
    yield from _twice(inside.child("imagePullSecrets"), "name", [secret.name for secret in spec.imagePullSecrets])
    for i, secret in enumerate(spec.imagePullSecrets):
        if not secret.name:
            yield f'{inside.child("imagePullSecrets").index(i).child("name")}: invalid empty name ""'
    yield from _fractions(inside.child("overhead"), spec.overhead)
    containers = list(_containers(inside, spec))
    for here, container in containers:
        if container.resources is not None:
            for part in ("limits", "requests"):
                yield from _fractions(here.child("resources", part), getattr(container.resources, part))
        yield from _variables(here.child("env"), container)
    yield from _ports(containers)
    yield from _pod_affinity(inside.child("affinity"), spec.affinity)


def _containers(inside: Path, spec: PodSpec) -> Iterator[tuple[Path, Container]]:
    for name in ("initContainers", "containers"):
        for i, container in enumerate(getattr(spec, name)):
            yield inside.child(name).index(i), container


def _node_affinity(at: Path, affinity: Affinity | None) -> Iterator[str]:
    nodes = affinity.nodeAffinity if affinity is not None else None
    if nodes is None:
        return
    required = nodes.requiredDuringSchedulingIgnoredDuringExecution
    here = at.child("requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms")
    for i, term in enumerate(required.nodeSelectorTerms if required is not None else ()):
        yield from _term(here.index(i), term)
    here = at.child("preferredDuringSchedulingIgnoredDuringExecution")
    for i, preferred in enumerate(nodes.preferredDuringSchedulingIgnoredDuringExecution):
        if preferred.preference is not None:
            yield from _term(here.index(i).child("preference"), preferred.preference)


def _term(at: Path, term: NodeSelectorTerm) -> Iterator[str]:
    for i, expression in enumerate(term.matchExpressions):
        if why := NODE_LABELS.get(expression.key):
            yield f"{at.child('matchExpressions').index(i).child('key')}: {expression.key} is {why}"


def _pod_affinity(at: Path, affinity: Affinity | None) -> Iterator[str]:
    for name in ("podAffinity", "podAntiAffinity"):
        terms = getattr(affinity, name, None)
        if terms is None:
            continue
        here = at.child(name, "requiredDuringSchedulingIgnoredDuringExecution")
        for i, term in enumerate(terms.requiredDuringSchedulingIgnoredDuringExecution):
            if term.labelSelector is None:
                yield f"{here.index(i).child('labelSelector')}: {NO_SELECTOR}"
        here = at.child(name, "preferredDuringSchedulingIgnoredDuringExecution")
        for i, weighted in enumerate(terms.preferredDuringSchedulingIgnoredDuringExecution):
            if weighted.podAffinityTerm is None or weighted.podAffinityTerm.labelSelector is None:
                yield f"{here.index(i).child('podAffinityTerm', 'labelSelector')}: {NO_SELECTOR}"


def _twice(at: Path, field: str, values: Iterable[str | None]) -> Iterator[str]:
    seen = set()
    for i, value in enumerate(values):
        if value in seen:
            yield f"{at.index(i).child(field)}: duplicate {field} {show(value or '')}"
        seen.add(value)


def _fractions(at: Path, amounts: dict[str, str]) -> Iterator[str]:
    for name in BYTES:
        amount = amounts.get(name)
        if amount is not None and quantities.parse(amount) % 1:
            why = f"fractional byte value {show(quantities.canonical(amount))} is invalid, must be an integer"
            yield f"{at.key(name)}: {why}"


def _variables(at: Path, container: Container) -> Iterator[str]:
    """A name may be given again, if its new value has the old one inside of it."""
    seen = set()
    for i, variable in enumerate(container.env):
        before = f"$({variable.name})"
        extends = variable.valueFrom is None and variable.value != before and before in (variable.value or "")
        if variable.name in seen and not extends:
            name = show(variable.name)
            yield f"{at.index(i)}: hides previous definition of {name}, which may be dropped when using apply"
        seen.add(variable.name)


def _ports(containers: Iterable[tuple[Path, Container]]) -> Iterator[str]:
    known: dict[tuple[int, str], dict[int, dict[str, list[_Given]]]] = {}
    numbers = count()
    for at, container in containers:
        for i, port in enumerate(container.ports):
            it = _Given(next(numbers), at.child("ports").index(i), port.hostIP or "", port.hostPort or 0)
            others = known.setdefault((port.containerPort, port.protocol), {})
            for other in sorted(_alike(it, others)):
                if (it.ip, it.on_host) == (other.ip, other.on_host):
                    yield f"{it.at}: duplicate port definition with {other.at}"
                elif not it.on_host or not other.on_host:
                    yield f"{it.at}: overlapping port definition with {other.at}"
                else:
                    yield f"{it.at}: dangerously ambiguous port definition with {other.at}"
            others.setdefault(it.on_host, {}).setdefault(it.ip, []).append(it)


def _alike(it: _Given, others: dict[int, dict[str, list[_Given]]]) -> Iterator[_Given]:
    """Those of the others, by their port of the node and its address, of which something is to be said: of thousands
    with the same port in the container, each on a port of its own on the node, there is none."""
    for on_host in (0, it.on_host) if it.on_host else others:
        by_ip = others.get(on_host, {})
        for ip in ("", it.ip) if it.on_host and on_host and it.ip else by_ip:
            yield from by_ip.get(ip, ())
