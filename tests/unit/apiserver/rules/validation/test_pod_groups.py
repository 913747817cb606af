"""Groups of pods, and the workloads that have templates of them."""

from typing import Any

import pytest

from api import kinds, meta
from apiserver.rules import decode, default, validate, validate_update
from apiserver.rules.strategies import prepare_create

GANG = {"gang": {"minCount": 2}}


def made(name: str, spec: dict[str, Any]) -> tuple[Any, Any]:
    kind = kinds.by_name("scheduling.k8s.io/v1beta1", name)
    assert kind is not None
    obj, _ = decode(kind, meta.encode({"metadata": {"name": "one", "namespace": "ns"}, "spec": spec}))
    default(kind, obj)
    return kind, obj


def told(name: str, spec: dict[str, Any]) -> list[str]:
    return [str(f) for f in validate(*made(name, spec))]


def changed(name: str, before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    kind, old = made(name, before)
    _, new = made(name, after)
    for obj in (old, new):
        obj.metadata.resourceVersion, obj.metadata.uid = "1", "u"
    return [str(f) for f in validate_update(kind, new, old)]


def template(**more: Any) -> dict[str, Any]:
    return {"name": "a", "schedulingPolicy": GANG} | more


@pytest.mark.parametrize(
    "spec",
    [
        {"schedulingPolicy": GANG},
        {"schedulingPolicy": {"basic": {}}, "disruptionMode": {"all": {}}, "priorityClassName": "high"},
        {"schedulingPolicy": GANG, "workloadRef": {"workloadName": "w.x", "templateName": "t"}},
    ],
)
def test_groups_as_they_should_be_are_taken(spec: dict[str, Any]) -> None:
    assert told("PodGroup", spec) == []


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ({"schedulingPolicy": {}}, 'spec.schedulingPolicy: Invalid value: "": must specify one of: `basic`, `gang`'),
        (
            {"schedulingPolicy": {"basic": {}, "gang": {"minCount": 1}}},
            'spec.schedulingPolicy: Invalid value: "{`basic`, `gang`}": exactly one of `basic`, `gang` is required, but '
            "multiple fields are set",
        ),
        ({"schedulingPolicy": {"gang": {"minCount": 0}}}, "spec.schedulingPolicy.gang.minCount: Required value"),
        (
            {"schedulingPolicy": {"gang": {"minCount": -1}}},
            "spec.schedulingPolicy.gang.minCount: Invalid value: -1: must be greater than or equal to 1",
        ),
        (
            {"schedulingPolicy": GANG, "disruptionMode": {}},
            'spec.disruptionMode: Invalid value: "": must specify one of: `single`, `all`',
        ),
        (
            {"schedulingPolicy": GANG, "workloadRef": {"workloadName": "w"}},
            "spec.workloadRef.templateName: Required value",
        ),
    ],
)
def test_a_group_that_makes_no_sense_is_refused(spec: dict[str, Any], fault: str) -> None:
    assert told("PodGroup", spec) == [fault]


@pytest.mark.parametrize(
    ("before", "after", "faults"),
    [
        ({"schedulingPolicy": GANG}, {"schedulingPolicy": {"gang": {"minCount": 5}}}, []),
        (
            {"schedulingPolicy": GANG},
            {"schedulingPolicy": {"basic": {}}},
            ["spec.schedulingPolicy.basic: Invalid value: {}: field is immutable",
             "spec.schedulingPolicy.gang: Invalid value: null: field cannot be cleared once set"],
        ),
        (
            {"schedulingPolicy": GANG},
            {"schedulingPolicy": GANG, "priorityClassName": "other"},
            ['spec.priorityClassName: Invalid value: "other": field is immutable'],
        ),
    ],
)  # fmt: skip
def test_only_the_size_of_a_gang_may_change(before: dict[str, Any], after: dict[str, Any], faults: list[str]) -> None:
    assert changed("PodGroup", before, after) == faults


@pytest.mark.parametrize(
    ("spec", "faults"),
    [
        ({"podGroupTemplates": [template(), template(name="b")]}, []),
        ({}, ["spec.podGroupTemplates: Required value: must have at least one item"]),
        (
            {"podGroupTemplates": [template(), template()]},
            ['spec.podGroupTemplates[1]: Duplicate value: "a"'],
        ),
        (
            {"podGroupTemplates": [template(name=f"t{n}") for n in range(9)]},
            ["spec.podGroupTemplates: Too many: 9: must have at most 8 items"],
        ),
        (
            {"podGroupTemplates": [template()], "controllerRef": {"kind": "Job", "name": "a/b"}},
            ["spec.controllerRef.name: Invalid value: \"a/b\": may not contain '/'"],
        ),
    ],
)
def test_a_workload_has_up_to_eight_templates_of_different_names(spec: dict[str, Any], faults: list[str]) -> None:
    assert told("Workload", spec) == faults


def test_templates_neither_come_nor_go() -> None:
    one, two = {"podGroupTemplates": [template()]}, {"podGroupTemplates": [template(), template(name="b")]}
    assert changed("Workload", one, two) == ["spec.podGroupTemplates: Invalid value: null: field is immutable"]
    larger = {"podGroupTemplates": [template(schedulingPolicy={"gang": {"minCount": 9}})]}
    assert changed("Workload", one, larger) == []


def test_what_belongs_to_features_that_are_not_there_is_not_kept() -> None:
    kind, obj = made("PodGroup", {
        "schedulingPolicy": GANG, "schedulingConstraints": {"topology": [{"key": "rack"}]},
        "resourceClaims": [{"name": "a", "resourceClaimName": "b"}], "parentCompositePodGroupName": "p",
    })  # fmt: skip
    prepare_create(kind, obj)
    assert obj.spec.schedulingConstraints is None
    assert (obj.spec.resourceClaims, obj.spec.parentCompositePodGroupName) == ([], "")
