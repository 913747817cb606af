"""What claims ask for, put so that it can be looked for on every node. Pure."""

from collections.abc import Mapping
from typing import NamedTuple

from api.resource_claims import requests
from api.types import DeviceClass, DeviceRequest, DeviceSelector, DeviceToleration, ResourceV1ResourceClaim


class Failed(Exception):
    """Something is wrong with a claim or a class, so that nobody can say whether there are devices on the node."""


class Wanted(NamedTuple):
    """A request, or one alternative of it."""

    name: str
    parent: str
    device_class: DeviceClass
    expressions: tuple[str, ...]
    every: bool
    number: int
    admin: bool
    capacity: Mapping[str, str]
    tolerations: list[DeviceToleration]

    def where(self, number: int, claim: str) -> str:
        """The place of an expression, for messages."""
        of_class = len(self.device_class.spec.selectors)
        if number < of_class:
            return f"class {self.device_class.metadata.name}: selector #{number}"
        return f"claim {claim}: selector #{number - of_class}"


class Ask(NamedTuple):
    """A claim that is to be allocated: for each of its requests the alternatives."""

    claim: ResourceV1ResourceClaim
    requests: tuple[tuple[Wanted, ...], ...]

    @property
    def name(self) -> str:
        return f"{self.claim.metadata.namespace}/{self.claim.metadata.name}"


def asked(claim: ResourceV1ResourceClaim, classes: Mapping[str, DeviceClass]) -> Ask:
    """Raises Failed."""
    return Ask(claim, tuple(_alternatives(claim, each, classes) for each in requests(claim.spec.devices)))


def _alternatives(
    claim: ResourceV1ResourceClaim, request: DeviceRequest, classes: Mapping[str, DeviceClass]
) -> tuple[Wanted, ...]:  # fmt: skip
    exactly = [request.exactly] if request.exactly is not None else []
    found = []
    for each in exactly or request.firstAvailable:
        name = request.name if exactly else f"{request.name}/{getattr(each, 'name', '')}"
        where = f"claim {claim.metadata.namespace}/{claim.metadata.name}, request {name}"
        device_class = classes.get(each.deviceClassName)
        if device_class is None:
            raise Failed(f"{where}: could not retrieve device class {each.deviceClassName}")
        if each.allocationMode not in ("", "ExactCount", "All"):
            raise Failed(f"{where}: unsupported count mode {each.allocationMode}")
        selectors = [*device_class.spec.selectors, *each.selectors]
        found.append(
            Wanted(
                name, request.name, device_class, tuple(_expression(s, where) for s in selectors),
                each.allocationMode == "All", each.count or 1, bool(getattr(each, "adminAccess", False)),
                each.capacity.requests if each.capacity is not None else {}, each.tolerations,
            )
        )  # fmt: skip
    if not found:
        raise Failed(f"claim {claim.metadata.namespace}/{claim.metadata.name}, request {request.name}: unknown type")
    return tuple(found)


def _expression(selector: DeviceSelector, where: str) -> str:
    if selector.cel is None:
        raise Failed(f"{where}: CEL expression empty (unsupported selector type?)")
    return selector.cel.expression
