"""What documents that leave out nearly everything are told: faults, and never an internal error."""

from typing import Any

import pytest

from api import kinds, meta
from api.types import (
    APIService,
    CSIStorageCapacity,
    CustomResourceDefinition,
    DaemonSet,
    Job,
    MutatingAdmissionPolicy,
    MutatingAdmissionPolicyBinding,
    StatefulSet,
    ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding,
    ValidatingWebhookConfiguration,
)
from apiserver import rules

POLICIES = (
    MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding,
)  # fmt: skip


def told(what: type[Any], name: str, **content: Any) -> list[str]:
    """The faults of a new object."""
    kind = kinds.of(what)
    document = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": {"name": name}, **content}
    obj, _ = rules.decode(kind, meta.encode(document), validation="Ignore")
    rules.default(kind, obj)
    rules.prepare_create(kind, obj)
    return [str(fault) for fault in rules.validate(kind, obj)]


def test_an_api_service_without_priorities_is_invalid() -> None:
    found = told(APIService, "v1.a.example", spec={"group": "a.example", "version": "v1"})
    assert found == [
        "spec.groupPriorityMinimum: Invalid value: 0: must be positive and less than 20000",
        "spec.versionPriority: Invalid value: 0: must be positive and less than 1000",
    ]


def test_an_api_service_without_anything_is_invalid() -> None:
    assert "spec.group: Required value: only v1 may have an empty group and it better be legacy kube" in told(
        APIService, "v1."
    )


@pytest.mark.parametrize("spec", [{}, {"names": {"plural": "widgets", "kind": "Widget"}}, {"versions": [{}]}])
def test_a_definition_without_a_group_is_invalid(spec: dict[str, Any]) -> None:
    assert "spec.group: Required value" in told(CustomResourceDefinition, "widgets.", spec=spec)


@pytest.mark.parametrize("what", POLICIES)
@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"matchConstraints": {}, "matchResources": {}, "paramKind": {}, "paramRef": {}},
        {"variables": [{"name": ""}, {"name": "a"}, {"name": "a", "expression": "1"}, {"name": "a-b"}]},
        {"mutations": [{}, {"patchType": "JSONPatch"}, {"patchType": "ApplyConfiguration", "applyConfiguration": {}}]},
        {"validations": [{}], "auditAnnotations": [{}], "matchConditions": [{}, {"name": "x", "expression": "\0"}]},
    ],
)  # fmt: skip
def test_a_policy_that_says_little_is_invalid(what: type[Any], spec: dict[str, Any]) -> None:
    assert told(what, "a", spec=spec)


def test_a_webhook_that_says_little_is_invalid() -> None:
    kept = {"webhooks": [{}, {"name": "a.example.com", "clientConfig": {}, "matchConditions": [{}], "rules": [{}]}]}
    assert told(ValidatingWebhookConfiguration, "a", **kept)


def test_a_capacity_of_nothing_is_no_quantity() -> None:
    found = told(CSIStorageCapacity, "a", capacity="", storageClassName="a")
    assert [fault for fault in found if fault.startswith('capacity: Invalid value: "": quantities must match')]


@pytest.mark.parametrize("what", [DaemonSet, Job, StatefulSet])
def test_a_selector_that_cannot_be_read_is_invalid(what: type[Any]) -> None:
    selector = {"matchExpressions": [{"key": "a", "operator": "Resembles"}]}
    found = told(what, "a", spec={"selector": selector})
    fault = 'spec.selector.matchExpressions[0].operator: Invalid value: "Resembles": not a valid selector operator'
    assert fault in found
