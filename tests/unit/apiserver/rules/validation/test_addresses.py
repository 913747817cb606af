"""IPAddress and ServiceCIDR in upstream's words."""

import pytest

from api import kinds
from api.types import IPAddress, IPAddressSpec, ObjectMeta, ParentReference, ServiceCIDR, ServiceCIDRSpec
from apiserver.rules import validate, validate_update

PARENT = ParentReference(resource="services", namespace="default", name="one")


def address(name: str = "10.0.0.1", parent: ParentReference | None = PARENT) -> IPAddress:
    return IPAddress(metadata=ObjectMeta(name=name), spec=IPAddressSpec(parentRef=parent))


def cidr(*cidrs: str) -> ServiceCIDR:
    return ServiceCIDR(metadata=ObjectMeta(name="one"), spec=ServiceCIDRSpec(cidrs=list(cidrs)))


def told(obj: IPAddress | ServiceCIDR) -> list[str]:
    return [str(f) for f in validate(kinds.of(type(obj)), obj)]


@pytest.mark.parametrize("name", ["10.0.0.1", "255.255.255.255", "fe80::42:1dff:fe84:f9e2"])
def test_an_address_is_named_by_itself(name: str) -> None:
    assert told(address(name)) == []


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("one", "must be a valid IP address"),
        ("FD00::1", 'must be in canonical form ("fd00::1")'),
        ("10.0.0.01", "must be"),
    ],
)
def test_other_names_are_refused(name: str, why: str) -> None:
    (fault,) = told(address(name))
    assert fault.startswith(f'metadata.name: Invalid value: "{name}": {why}')


def test_an_address_belongs_to_something_for_ever() -> None:
    assert told(address(parent=None)) == ["spec.parentRef: Required value"]
    assert told(address(parent=ParentReference(name="one"))) == ["spec.parentRef.resource: Required value"]
    other = address(parent=ParentReference(resource="services", namespace="default", name="two"))
    faults = validate_update(kinds.of(IPAddress), other, address())
    assert [(f.path, f.message.endswith("field is immutable")) for f in faults] == [("spec.parentRef", True)]


@pytest.mark.parametrize(
    ("cidrs", "faults"),
    [
        (["10.0.0.0/8", "fd00::/64"], []),
        ([], ["spec.cidrs: Required value: at least one CIDR required"]),
        (["10.0.0.0"], ['spec.cidrs[0]: Invalid value: "10.0.0.0": must be a valid CIDR value']),
        (["10.0.0.0/255.0.0.0"], ['spec.cidrs[0]: Invalid value: "10.0.0.0/255.0.0.0": must be a valid CIDR value']),
        (["10.0.0.1/8"], ['spec.cidrs[0]: Invalid value: "10.0.0.1/8": must not have bits set beyond the prefix']),
        (["FD00::/64"], ['spec.cidrs[0]: Invalid value: "FD00::/64": must be in canonical form ("fd00::/64")']),
        (
            ["::ffff:10.0.0.0/104"],
            ['spec.cidrs[0]: Invalid value: "::ffff:10.0.0.0/104": must not have an IPv4-mapped'],
        ),
        (["10.0.0.0/8", "11.0.0.0/8"], ['spec.cidrs: Invalid value: ["10.0.0.0/8","11.0.0.0/8"]: may specify no more']),
    ],
)
def test_a_range_has_one_cidr_for_each_family(cidrs: list[str], faults: list[str]) -> None:
    found = told(cidr(*cidrs))
    assert len(found) == len(faults)
    assert all(f.startswith(wanted) for f, wanted in zip(found, faults, strict=True))


def test_a_range_may_get_a_second_family_and_nothing_else() -> None:
    kind = kinds.of(ServiceCIDR)
    assert validate_update(kind, cidr("10.0.0.0/8", "fd00::/64"), cidr("10.0.0.0/8")) == []
    (fault,) = validate_update(kind, cidr("11.0.0.0/8"), cidr("10.0.0.0/8"))
    assert (fault.path, fault.message.endswith("field is immutable")) == ("spec.cidrs", True)
