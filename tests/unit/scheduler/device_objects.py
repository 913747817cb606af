"""Devices, slices, classes and claims for the tests of the scheduler."""

from typing import Any

from api import meta
from api.types import (
    AllocationResult,
    CapacityRequestPolicy,
    CapacityRequirements,
    CELDeviceSelector,
    Counter,
    CounterSet,
    Device,
    DeviceAllocationResult,
    DeviceAttribute,
    DeviceCapacity,
    DeviceClaim,
    DeviceClass,
    DeviceClassSpec,
    DeviceConstraint,
    DeviceCounterConsumption,
    DeviceRequest,
    DeviceRequestAllocationResult,
    DeviceSelector,
    DeviceSubRequest,
    ExactDeviceRequest,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    ObjectMeta,
    Pod,
    PodResourceClaim,
    ResourceClaimConsumerReference,
    ResourceClaimSpec,
    ResourceClaimStatus,
    ResourcePool,
    ResourceSlice,
    ResourceSliceSpec,
    ResourceV1ResourceClaim,
)
from tests.unit.scheduler.objects import pod

DRIVER, CLASS = "gpu.example.com", "gpu"


def device(
    name: str, attributes: dict[str, str | int | bool] | None = None, capacity: dict[str, str] | None = None,
    policy: CapacityRequestPolicy | None = None, counters: dict[str, str] | None = None, **more: Any,
) -> Device:  # fmt: skip
    draws = {name: Counter(value=value) for name, value in (counters or {}).items()}
    return Device(
        name=name,
        attributes={name: attribute(value) for name, value in (attributes or {}).items()},
        capacity={name: DeviceCapacity(value=v, requestPolicy=policy) for name, v in (capacity or {}).items()},
        consumesCounters=[DeviceCounterConsumption(counterSet="set", counters=draws)] if draws else [],
        **more,
    )


def attribute(value: str | int | bool) -> DeviceAttribute:
    if isinstance(value, bool):
        return DeviceAttribute(bool_=value)
    return DeviceAttribute(int_=value) if isinstance(value, int) else DeviceAttribute(string=value)


def slice_of(
    *devices: Device | str, node: str = "", pool: str = "", name: str = "", generation: int = 1, count: int = 1,
    driver: str = DRIVER, shared: dict[str, str] | None = None, **more: Any,
) -> ResourceSlice:  # fmt: skip
    """Of a pool of the node's name, unless that is said otherwise."""
    pool = pool or node
    sets = [CounterSet(name="set", counters={n: Counter(value=v) for n, v in shared.items()})] if shared else []
    return ResourceSlice(
        metadata=ObjectMeta(name=name or f"{driver}-{pool}"),
        spec=ResourceSliceSpec(
            driver=driver, nodeName=node, sharedCounters=sets,
            pool=ResourcePool(name=pool, generation=generation, resourceSliceCount=count),
            devices=[device(d) if isinstance(d, str) else d for d in devices], **more,
        ),
    )  # fmt: skip


def device_class(name: str = CLASS, *expressions: str, **more: Any) -> DeviceClass:
    expressions = expressions or (f'device.driver == "{DRIVER}"',)
    return DeviceClass(
        metadata=ObjectMeta(name=name), spec=DeviceClassSpec(selectors=[*map(selecting, expressions)], **more)
    )


def selecting(expression: str) -> DeviceSelector:
    return DeviceSelector(cel=CELDeviceSelector(expression=expression))


def request(
    name: str = "r", count: int = 1, *expressions: str, of: str = CLASS, every: bool = False,
    asks: dict[str, str] | None = None, **more: Any,
) -> DeviceRequest:  # fmt: skip
    return DeviceRequest(name=name, exactly=ExactDeviceRequest(**_asked(of, count, expressions, every, asks), **more))


def alternative(
    name: str, count: int = 1, *expressions: str, of: str = CLASS, every: bool = False,
    asks: dict[str, str] | None = None, **more: Any,
) -> DeviceSubRequest:  # fmt: skip
    return DeviceSubRequest(name=name, **_asked(of, count, expressions, every, asks), **more)


def _asked(
    of: str, count: int, expressions: tuple[str, ...], every: bool, asks: dict[str, str] | None
) -> dict[str, Any]:  # fmt: skip
    return {
        "deviceClassName": of, "selectors": [*map(selecting, expressions)],
        "allocationMode": "All" if every else "ExactCount", "count": None if every else count,
        "capacity": CapacityRequirements(requests=asks) if asks else None,
    }  # fmt: skip


def first_of(name: str, *alternatives: DeviceSubRequest) -> DeviceRequest:
    return DeviceRequest(name=name, firstAvailable=[*alternatives])


def same(attribute: str, *requests: str) -> DeviceConstraint:
    return DeviceConstraint(matchAttribute=f"{DRIVER}/{attribute}", requests=[*requests])


def different(attribute: str, *requests: str) -> DeviceConstraint:
    return DeviceConstraint(distinctAttribute=f"{DRIVER}/{attribute}", requests=[*requests])


def claim(
    name: str = "claim", *requests: DeviceRequest, constraints: list[DeviceConstraint] | None = None,
    allocation: AllocationResult | None = None, users: tuple[str, ...] = (), **more: Any,
) -> ResourceV1ResourceClaim:  # fmt: skip
    """For one device, unless requests are given."""
    asked = DeviceClaim(requests=[*requests] or [request()], constraints=constraints or [], **more)
    reserved = [ResourceClaimConsumerReference(resource="pods", name=u, uid=f"uid-{u}") for u in users]
    return ResourceV1ResourceClaim(
        metadata=ObjectMeta(name=name, namespace="default", uid=f"uid-{name}", resourceVersion="1"),
        spec=ResourceClaimSpec(devices=asked),
        status=ResourceClaimStatus(allocation=allocation, reservedFor=reserved),
    )


def allocation(*devices: str, on: str = "", pool: str = "", **more: Any) -> AllocationResult:
    """Of devices of one pool, which is the node's."""
    results = [
        DeviceRequestAllocationResult(request="r", driver=DRIVER, pool=pool or on, device=d, **more) for d in devices
    ]
    return AllocationResult(devices=DeviceAllocationResult(results=results), nodeSelector=named(on) if on else None)


def named(node: str) -> NodeSelector:
    requirement = NodeSelectorRequirement(key="metadata.name", operator="In", values=[node])
    return NodeSelector(nodeSelectorTerms=[NodeSelectorTerm(matchFields=[requirement])])


def labelled(label: str, *values: str) -> NodeSelector:
    requirement = NodeSelectorRequirement(key=label, operator="In", values=[*values])
    return NodeSelector(nodeSelectorTerms=[NodeSelectorTerm(matchExpressions=[requirement])])


def user(*claims: str, name: str = "pod", **spec: Any) -> Pod:
    """A pod that names these claims."""
    return pod(name, resourceClaims=[PodResourceClaim(name=c, resourceClaimName=c) for c in claims], **spec)


def written(
    claim: ResourceV1ResourceClaim, allocation: AllocationResult | None, *users: str
) -> ResourceV1ResourceClaim:
    """A newer revision of the claim."""
    new = meta.clone(claim)
    new.metadata.resourceVersion = str(int(claim.metadata.resourceVersion) + 1)
    new.status.allocation = allocation
    new.status.reservedFor = [ResourceClaimConsumerReference(resource="pods", name=u, uid=f"uid-{u}") for u in users]
    return new
