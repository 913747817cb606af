"""What a pod as a whole requests and is limited to.

https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers
"""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce

from api import resizes
from api.quotas.amounts import Usage, add, most, read
from api.types import Container, Pod, PodSpec

POD_LEVEL = "cpu", "memory"
HUGE = "hugepages-"
Part = Callable[[Container], Sequence[Mapping[str, str]]]
"""What a container counts for: of each resource the most."""


def requests(pod: Pod, *, with_status: bool = False) -> Usage:
    """`with_status`: what a resized container still holds counts until it is given back."""
    held = _held(pod, with_status)
    found = _total(pod.spec, held.requests)
    if pod.spec.resources is not None:
        found |= _pod_level(held.requests_of(pod.spec.resources))
    return add(found, read(pod.spec.overhead)) if pod.spec.overhead else found


def limits(pod: Pod, *, with_status: bool = False) -> Usage:
    held = _held(pod, with_status)
    found = _total(pod.spec, held.limits)
    if pod.spec.resources is not None:
        found |= _pod_level(held.limits_of(pod.spec.resources))
    # The overhead raises a limit that is there; it makes none.
    overhead = {name: a for name, a in read(pod.spec.overhead).items() if name in found and found[name].value}
    return add(found, overhead)


def of_containers(spec: PodSpec) -> tuple[Usage, Usage]:
    """What its containers request and are limited to together, whatever is stated for the pod as a whole."""
    return _total(spec, resizes.NOTHING.requests), _total(spec, resizes.NOTHING.limits)


def _held(pod: Pod, with_status: bool) -> resizes.Held:
    return resizes.held(pod) if with_status else resizes.NOTHING


def _pod_level(each: Sequence[Mapping[str, str]]) -> Usage:
    found = _most(each)
    return {name: amount for name, amount in found.items() if name in POD_LEVEL or name.startswith(HUGE)}


def _total(spec: PodSpec, part: Part) -> Usage:
    peak: Usage = {}
    sidecars: Usage = {}
    for container in spec.initContainers:
        asked = _most(part(container))
        if container.restartPolicy == "Always":  # it stays while everything after it runs
            asked = sidecars = add(sidecars, asked)
        else:
            asked = add(asked, sidecars)
        peak = most(peak, asked)
    running = sidecars
    for container in spec.containers:
        running = add(running, _most(part(container)))
    return most(running, peak)


def _most(each: Sequence[Mapping[str, str]]) -> Usage:
    first, *others = map(read, each)
    return reduce(most, others, first)
