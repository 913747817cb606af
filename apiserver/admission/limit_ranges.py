"""LimitRanger: what a container asks for if it does not say, and how little and how much one may ask for.

https://kubernetes.io/docs/concepts/policy/limit-range/
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Any

from api import errors, kinds
from api.quotas import pods
from api.quotas.amounts import Amount, Usage, read
from api.types import Container, LimitRange, LimitRangeItem, PersistentVolumeClaim, Pod
from apiserver.admission.reading import Reader
from apiserver.requests import Request

RANGES, PODS, CLAIMS = kinds.of(LimitRange), kinds.of(Pod), kinds.of(PersistentVolumeClaim)
ANNOTATION = "kubernetes.io/limit-ranger"
RESIZE = "resize"
LARGEST_MILLI = Decimal((2**63 - 1) // 1000)
"""Above this, upstream compares whole units."""

Rule = Callable[[str, str, Amount, Usage, Usage], str]
"""(type of limit, resource, what is enforced, requests, limits) → what is wrong, or ""."""


class LimitRanger:
    """Defaults in the first phase; in the second, minima, maxima and ratios."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def admit(self, request: Request, obj: Any, old: Any) -> None:
        if request.kind is PODS and _concerns(request, obj, old):
            for each in self._ranges(request):
                give_defaults(each, obj)

    async def judge(self, request: Request, obj: Any, old: Any) -> None:
        if not _concerns(request, obj, old):
            return
        for each in self._ranges(request):
            faults = list(dict.fromkeys(pod_faults(each, obj) if request.kind is PODS else claim_faults(each, obj)))
            if faults:
                why = faults[0] if len(faults) == 1 else f"[{', '.join(faults)}]"
                raise errors.forbidden(request.kind.group_resource, obj.metadata.name, why)

    def _ranges(self, request: Request) -> Iterable[LimitRange]:
        return self._reader.list_within(RANGES, request.namespace)


def _concerns(request: Request, obj: Any, old: Any) -> bool:
    if obj is None or (old is not None and old.metadata.deletionTimestamp):
        return False
    if request.kind is CLAIMS:
        return not request.subresource
    if request.kind is not PODS:
        return False
    # What a container asks for never changes after its creation, but by a resize.
    return request.subresource == RESIZE or (not request.subresource and old is None)


def give_defaults(limit_range: LimitRange, pod: Pod) -> None:
    """Changes the pod, and notes in an annotation what."""
    requests: dict[str, str] = {}
    limits: dict[str, str] = {}
    for item in limit_range.spec.limits:
        if item.type == "Container":
            requests |= item.defaultRequest
            limits |= item.default
    notes: list[str] = []
    for container in pod.spec.containers:
        notes += _fill(container, "container", requests, limits)
    for container in pod.spec.initContainers:
        notes += _fill(container, "init container", requests, limits)
    if notes:
        said = "LimitRanger plugin set: " + "; ".join(notes)
        pod.metadata.annotations = pod.metadata.annotations | {ANNOTATION: said}


def _fill(container: Container, what: str, requests: Mapping[str, str], limits: Mapping[str, str]) -> Iterator[str]:
    resources = container.resources
    set_limits = sorted(limits.keys() - resources.limits.keys())
    set_requests = sorted(requests.keys() - resources.requests.keys())
    resources.limits = dict(limits) | resources.limits
    resources.requests = dict(requests) | resources.requests
    if set_requests:
        yield f"{', '.join(set_requests)} request for {what} {container.name}"
    if set_limits:
        yield f"{', '.join(set_limits)} limit for {what} {container.name}"


def pod_faults(limit_range: LimitRange, pod: Pod) -> Iterator[str]:
    for item in limit_range.spec.limits:
        if item.type == "Container":
            for container in (*pod.spec.containers, *pod.spec.initContainers):
                yield from _broken(item, read(container.resources.requests), read(container.resources.limits))
        elif item.type == "Pod":
            yield from _broken(item, pods.requests(pod), pods.limits(pod))


def claim_faults(limit_range: LimitRange, claim: PersistentVolumeClaim) -> Iterator[str]:
    requests = read(claim.spec.resources.requests) if claim.spec.resources is not None else {}
    for item in limit_range.spec.limits:
        if item.type == "PersistentVolumeClaim":
            yield from _all(_minimum, item.type, item.min, requests, {})
            yield from _all(_most_requested, item.type, item.max, requests, {})


def _broken(item: LimitRangeItem, requests: Usage, limits: Usage) -> Iterator[str]:
    yield from _all(_minimum, item.type, item.min, requests, limits)
    yield from _all(_maximum, item.type, item.max, requests, limits)
    yield from _all(_ratio, item.type, item.maxLimitRequestRatio, requests, limits)


def _all(rule: Rule, type_: str, enforced: Mapping[str, str], requests: Usage, limits: Usage) -> Iterator[str]:
    for name, amount in sorted(read(enforced).items()):
        if fault := rule(type_, name, amount, requests, limits):
            yield fault


def _minimum(type_: str, name: str, enforced: Amount, requests: Usage, limits: Usage) -> str:
    start, request, limit = f"minimum {name} usage per {type_} is {enforced}", requests.get(name), limits.get(name)
    if request is None:
        return f"{start}.  No request is specified"
    if _less(request, enforced):
        return f"{start}, but request is {request}"
    return f"{start}, but limit is {limit}" if limit is not None and _less(limit, enforced) else ""


def _maximum(type_: str, name: str, enforced: Amount, requests: Usage, limits: Usage) -> str:
    start, request, limit = f"maximum {name} usage per {type_} is {enforced}", requests.get(name), limits.get(name)
    if limit is None:
        return f"{start}.  No limit is specified"
    if _less(enforced, limit):
        return f"{start}, but limit is {limit}"
    return f"{start}, but request is {request}" if request is not None and _less(enforced, request) else ""


def _most_requested(type_: str, name: str, enforced: Amount, requests: Usage, _: Usage) -> str:
    start, request = f"maximum {name} usage per {type_} is {enforced}", requests.get(name)
    if request is None:
        return f"{start}.  No request is specified"
    return f"{start}, but request is {request}" if _less(enforced, request) else ""


def _ratio(type_: str, name: str, enforced: Amount, requests: Usage, limits: Usage) -> str:
    start = f"{name} max limit to request ratio per {type_} is {enforced}"
    request, limit = requests.get(name), limits.get(name)
    if request is None or not request.value:
        return f"{start}, but no request is specified or request is 0"
    if limit is None or not limit.value:
        return f"{start}, but no limit is specified or limit is 0"
    ratio = float(_counted(limit)) / float(_counted(request))
    return f"{start}, but provided ratio is {ratio:f}" if ratio > float(enforced.value) else ""


def _less(a: Amount, b: Amount) -> bool:
    if max(a.value, b.value) > LARGEST_MILLI:
        return a.value.to_integral_value(ROUND_CEILING) < b.value.to_integral_value(ROUND_CEILING)
    return _counted(a) < _counted(b)


def _counted(amount: Amount) -> Decimal:
    return (amount.value * 1000).to_integral_value(ROUND_CEILING)
