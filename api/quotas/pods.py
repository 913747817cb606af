"""What a pod as a whole requests and is limited to.

https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers
"""

from collections.abc import Callable

from api.quotas.amounts import Usage, add, most, read
from api.types import Container, ContainerStatus, Pod, ResourceRequirements

POD_LEVEL = "cpu", "memory"
HUGE = "hugepages-"
Part = Callable[[ResourceRequirements], dict[str, str]]


def requests(pod: Pod, *, with_status: bool = False) -> Usage:
    """`with_status`: what a resized container still holds counts until it is given back."""
    found = _total(pod, lambda r: r.requests, with_status)
    if pod.spec.resources is not None:
        found |= _pod_level(pod.spec.resources.requests)
    return add(found, read(pod.spec.overhead)) if pod.spec.overhead else found


def limits(pod: Pod, *, with_status: bool = False) -> Usage:
    found = _total(pod, lambda r: r.limits, with_status)
    if pod.spec.resources is not None:
        found |= _pod_level(pod.spec.resources.limits)
    # The overhead raises a limit that is there; it makes none.
    overhead = {name: a for name, a in read(pod.spec.overhead).items() if name in found and found[name].value}
    return add(found, overhead)


def _pod_level(resources: dict[str, str]) -> Usage:
    return read({n: t for n, t in resources.items() if n in POD_LEVEL or n.startswith(HUGE)})


def _total(pod: Pod, part: Part, with_status: bool) -> Usage:
    states = _states(pod) if with_status else {}
    peak: Usage = {}
    sidecars: Usage = {}
    for container in pod.spec.initContainers:
        asked = _asked(container, part, states)
        if container.restartPolicy == "Always":  # it stays while everything after it runs
            asked = sidecars = add(sidecars, asked)
        else:
            asked = add(asked, sidecars)
        peak = most(peak, asked)
    running = sidecars
    for container in pod.spec.containers:
        running = add(running, _asked(container, part, states))
    return most(running, peak)


def _states(pod: Pod) -> dict[str, ContainerStatus]:
    return {s.name: s for s in (*pod.status.containerStatuses, *pod.status.initContainerStatuses) if s.resources}


def _asked(container: Container, part: Part, states: dict[str, ContainerStatus]) -> Usage:
    asked = read(part(container.resources))
    state = states.get(container.name)
    return most(asked, read(part(state.resources))) if state is not None and state.resources else asked
