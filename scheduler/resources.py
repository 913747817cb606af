"""What a pod asks of a node. Pure.

https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers
"""

from collections.abc import Mapping, Sequence
from functools import reduce

from api import quantities, resizes
from api.types import Container, Pod

CPU, MEMORY, STORAGE, PODS = "cpu", "memory", "ephemeral-storage", "pods"
# What a container without a request is taken for when nodes are compared, so that such pods spread too.
UNSTATED = {CPU: 100, MEMORY: 200 * 2**20}

Amounts = dict[str, int]  # by resource name: millicores of cpu, whole units of anything else


def amounts(quantity: Mapping[str, str]) -> Amounts:
    """A resource list in the units that are compared here."""
    return {name: (quantities.milli if name == CPU else quantities.value)(text) for name, text in quantity.items()}


def requests(pod: Pod, unstated: Mapping[str, int] | None = None) -> Amounts:
    """The most that the pod needs at one time; `unstated` stands in for requests that a container does not make."""
    held = resizes.held(pod)
    running, peak, sidecars = Amounts(), Amounts(), Amounts()
    for container in pod.spec.initContainers:
        asked = _asked(container, unstated, held)
        if container.restartPolicy == "Always":  # a sidecar stays while everything after it runs
            sidecars = _sum(sidecars, asked)
            asked = sidecars
        else:
            asked = _sum(asked, sidecars)
        peak = _most(peak, asked)
    running = sidecars
    for container in pod.spec.containers:
        running = _sum(running, _asked(container, unstated, held))
    needed = _most(running, peak)
    if pod.spec.resources is not None:  # what is stated for the whole pod counts instead
        needed |= _most_of(held.requests_of(pod.spec.resources))
    return _sum(needed, amounts(pod.spec.overhead))


def says_all(pod: Pod) -> bool:
    """Whether nothing has to stand in for what a container does not say."""
    return all(
        CPU in c.resources.requests and MEMORY in c.resources.requests
        for containers in (pod.spec.initContainers, pod.spec.containers)
        for c in containers
    )


def _asked(container: Container, unstated: Mapping[str, int] | None, held: resizes.Held) -> Amounts:
    asked = _most_of(held.requests(container))
    return {**unstated, **asked} if unstated else asked


def _sum(a: Amounts, b: Amounts) -> Amounts:
    if not b:
        return a
    return {name: a.get(name, 0) + b.get(name, 0) for name in {**a, **b}}


def _most_of(each: Sequence[Mapping[str, str]]) -> Amounts:
    first, *others = map(amounts, each)
    return reduce(_most, others, first)


def _most(a: Amounts, b: Amounts) -> Amounts:
    if not b:
        return a
    return {name: max(a.get(name, 0), b.get(name, 0)) for name in {**a, **b}}
