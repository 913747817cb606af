"""ResourceQuota and LimitRange in upstream's words."""

from typing import Any

import pytest

from api import kinds
from api.types import (
    LimitRange,
    LimitRangeItem,
    LimitRangeSpec,
    ObjectMeta,
    ResourceQuota,
    ResourceQuotaSpec,
    ScopedResourceSelectorRequirement,
    ScopeSelector,
)
from apiserver.rules import validate, validate_update

META = ObjectMeta(name="one", namespace="ns")


def quota(*scopes: str, **hard: str) -> ResourceQuota:
    return ResourceQuota(metadata=META, spec=ResourceQuotaSpec(hard=hard, scopes=list(scopes)))


def limits(**item: Any) -> LimitRange:
    item.setdefault("type", "Container")
    return LimitRange(metadata=META, spec=LimitRangeSpec(limits=[LimitRangeItem(**item)]))


def told(obj: Any) -> list[str]:
    return [str(f) for f in validate(kinds.of(type(obj)), obj)]


@pytest.mark.parametrize(
    "hard",
    [
        {"pods": "5", "requests.cpu": "1", "limits.memory": "1Gi"},
        {"count/deployments.apps": "3", "requests.nvidia.com/gpu": "1"},
        {"gold.storageclass.storage.k8s.io/requests.storage": "1Gi", "requests.hugepages-2Mi": "4Mi"},
    ],
)
def test_these_can_be_bounded(hard: dict[str, str]) -> None:
    assert told(quota(**hard)) == []


def test_quotas_of_what_is_not_known_are_refused() -> None:
    assert told(quota(unknown="1")) == [
        'spec.hard[unknown]: Invalid value: "unknown": must be a standard resource type or fully qualified',
        'spec.hard[unknown]: Invalid value: "unknown": must be a standard resource for quota',
    ]
    assert told(quota(storage="1")) == [
        'spec.hard[storage]: Invalid value: "storage": must be a standard resource for quota'
    ]
    assert told(quota(pods="-1"))[0].startswith('spec.hard[pods]: Invalid value: "-1": must be greater than or equal')
    assert told(quota("Never", pods="1")) == ['spec.scopes: Invalid value: ["Never"]: unsupported scope']
    assert told(quota("BestEffort", "NotBestEffort", pods="1"))[0].endswith("conflicting scopes")
    assert told(quota("BestEffort", cpu="1"))[0].endswith("unsupported scope applied to resource")


def test_a_quotas_scopes_stay() -> None:
    (fault,) = validate_update(kinds.of(ResourceQuota), quota(pods="1"), quota("BestEffort", pods="1"))
    assert (fault.path, fault.message.endswith("field is immutable")) == ("spec.scopes", True)


@pytest.mark.parametrize(
    ("item", "faults"),
    [
        ({"min": {"cpu": "1"}, "defaultRequest": {"cpu": "1"}, "default": {"cpu": "2"}, "max": {"cpu": "2"}}, []),
        (
            {"min": {"cpu": "2"}, "max": {"cpu": "1"}},
            ['spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1'],
        ),
        (
            {"default": {"cpu": "2"}, "max": {"cpu": "1"}},
            ['spec.limits[0].default[cpu]: Invalid value: "1": default value 2 is greater than max value 1'],
        ),
        (
            {"type": "Pod", "default": {"cpu": "1"}},
            ["spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'"],
        ),
        (
            {"type": "PersistentVolumeClaim"},
            [
                "spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but "
                "neither was provided"
            ],
        ),
        (
            {"type": "Other"},
            ['spec.limits[0].type: Invalid value: "Other": must be a standard limit type or fully qualified'],
        ),
        (
            {"min": {"cpu": "1"}, "max": {"cpu": "2"}, "maxLimitRequestRatio": {"cpu": "3"}},
            [
                'spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: "3": ratio 3 is greater than max/min = '
                "2.000000"
            ],
        ),
        (
            {"maxLimitRequestRatio": {"cpu": "500m"}},
            ['spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: "500m": ratio 500m is less than 1'],
        ),
    ],
)
def test_limits_are_in_order(item: dict[str, Any], faults: list[str]) -> None:
    assert told(limits(**item)) == faults


def selecting(scope: str, operator: str, *values: str) -> ResourceQuota:
    it = quota(pods="1")
    requirement = ScopedResourceSelectorRequirement(scopeName=scope, operator=operator, values=list(values))
    it.spec.scopeSelector = ScopeSelector(matchExpressions=[requirement])
    return it


@pytest.mark.parametrize(
    ("it", "fault"),
    [
        (selecting("PriorityClass", "In", "high"), ""),
        (
            selecting("PriorityClass", "In"),
            ".values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
        ),
        (
            selecting("PriorityClass", "Exists", "x"),
            """.values: Invalid value: ["x"]: must be no value when `operator` is 'Exist' or 'DoesNotExist' for """
            "scope selector",
        ),
        (selecting("PriorityClass", "Foo"), '.operator: Invalid value: "Foo": not a valid selector operator'),
        (selecting("Foo", "Exists"), '.scopeName: Invalid value: "Foo": unsupported scope'),
    ],
)
def test_scope_selectors(it: ResourceQuota, fault: str) -> None:
    assert told(it) == ([f"spec.scopeSelector.matchExpressions{fault}"] if fault else [])
