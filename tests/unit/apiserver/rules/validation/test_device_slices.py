"""What drivers may say of their devices, and what classes of devices may be."""

from typing import Any

import pytest

from apiserver.rules import warnings
from tests.unit.apiserver.rules.devices import POOL, faults, faults_of_update, slice_, written

ONE_PLACE = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
ONE_DEVICE_PLACE = (
    "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true "
    "in the ResourceSlice spec"
)
TERM = {"matchExpressions": [{"key": "zone", "operator": "Exists"}]}
COUNTERS = {"memory": {"value": "10Gi"}}


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ({}, ""),
        ({"nodeName": "", "allNodes": True}, ""),
        ({"nodeName": "", "nodeSelector": {"nodeSelectorTerms": [TERM]}}, ""),
        ({"pool": {**POOL, "name": "a.b/c"}}, ""),
        ({"sharedCounters": [{"name": "set", "counters": COUNTERS}]}, ""),
        ({"driver": ""}, "spec.driver: Required value"),
        ({"driver": "a_b"}, 'spec.driver: Invalid value: "a_b": a lowercase RFC 1123 subdomain'),
        ({"pool": None}, "spec.pool.name: Required value"),
        ({"pool": {**POOL, "name": "/"}}, 'spec.pool.name: Invalid value: ""'),
        ({"pool": {**POOL, "name": "a" * 254}}, "spec.pool.name: Too long: may not be more than 253 bytes"),
        ({"pool": {**POOL, "generation": -1}}, "spec.pool.generation: Invalid value: -1: must be greater than or equal to zero"),
        ({"pool": {**POOL, "resourceSliceCount": 0}}, "spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero"),
        ({"nodeName": ""}, f"spec: Required value: {ONE_PLACE}"),
        ({"nodeName": "A"}, 'spec.nodeName: Invalid value: "A": a lowercase RFC 1123 subdomain'),
        ({"allNodes": True}, f'spec: Invalid value: "{{`nodeName`, `allNodes`}}": {ONE_PLACE}, but multiple fields are set'),
        ({"allNodes": False}, "spec.allNodes: Invalid value: false: must be either unset or set to true"),
        ({"perDeviceNodeSelection": False}, "spec.perDeviceNodeSelection: Invalid value: false: must be either unset or set to true"),
        ({"nodeName": "", "nodeSelector": {"nodeSelectorTerms": [TERM, TERM]}}, "spec.nodeSelector.nodeSelectorTerms: Invalid value: "),
        ({"devices": [{"name": "a"}], "sharedCounters": [{"name": "set", "counters": COUNTERS}]}, 'spec: Invalid value: "": only one of `sharedCounters` or `devices` is allowed'),
        ({"devices": [{"name": f"d{i}"} for i in range(128)]}, ""),
        ({"devices": [{"name": f"d{i}"} for i in range(129)]}, "spec.devices: Too many: 129: must have at most 128 items"),
        ({"devices": [{"name": f"d{i}", "taints": [{"key": "a", "effect": "None"}]} for i in range(65)]}, "spec.devices: Too many: 65: must have at most 64 items"),
        ({"devices": [{"name": "a"}, {"name": "a"}]}, 'spec.devices[1]: Duplicate value: "a"'),
        ({"sharedCounters": [{"name": "", "counters": COUNTERS}]}, "spec.sharedCounters[0].name: Required value"),
        ({"sharedCounters": [{"name": "a", "counters": {}}]}, "spec.sharedCounters[0].counters: Required value"),
        ({"sharedCounters": [{"name": "a", "counters": {"A": {"value": "1"}}}]}, 'spec.sharedCounters[0].counters: Invalid value: "A": a lowercase RFC 1123 label'),
        ({"sharedCounters": [{"name": "a", "counters": {f"c{i}": {"value": "1"} for i in range(33)}}]}, "spec.sharedCounters[0].counters: Too many: 33: must have at most 32 items"),
        ({"sharedCounters": [{"name": "a", "counters": COUNTERS}] * 2}, 'spec.sharedCounters[1]: Duplicate value: "a"'),
        ({"sharedCounters": [{"name": f"s{i}", "counters": COUNTERS} for i in range(9)]}, "spec.sharedCounters: Too many: 9: must have at most 8 items"),
    ],
)  # fmt: skip
def test_a_slice_is_of_one_driver_one_pool_and_one_place(spec: dict[str, Any], fault: str) -> None:
    found = faults(slice_(**spec))
    assert found[0].startswith(fault) if fault else found == []


AT = "spec.devices[0]"


@pytest.mark.parametrize(
    ("device", "fault"),
    [
        ({"attributes": {"model": {"string": ""}, "a.example.com/n": {"int": -1}, "f": {"bool": False}, "v": {"version": "1.2.3-rc.1+x"}}}, ""),
        ({"capacity": {"memory": {"value": "10Gi"}}}, ""),
        ({"taints": [{"key": "a.example.com/b", "value": "c", "effect": "NoExecute"}]}, ""),
        ({"consumesCounters": [{"counterSet": "a", "counters": COUNTERS}], "bindsToNode": True}, ""),
        ({"bindingConditions": ["a.example.com/ready"], "bindingFailureConditions": ["failed"]}, ""),
        ({"name": "A"}, f'{AT}.name: Invalid value: "A": a lowercase RFC 1123 label'),
        ({"attributes": {f"a{i}": {"int": i} for i in range(33)}}, f"{AT}: Invalid value: 33: the total number of attributes and capacities must not exceed 32"),
        ({"attributes": {"0": {"int": 1}}}, f'{AT}.attributes: Invalid value: "0": a valid C identifier must start with'),
        ({"attributes": {"a/b/c": {"int": 1}}}, f'{AT}.attributes: Invalid value: "a/b/c": must not contain more than one slash'),
        ({"attributes": {"x" * 33: {"int": 1}}}, f"{AT}.attributes: Too long: may not be more than 32 bytes"),
        ({"attributes": {"a": {}}}, f'{AT}.attributes[a]: Invalid value: "": exactly one value must be specified'),
        ({"attributes": {"a": {"int": 1, "string": "x"}}}, f'{AT}.attributes[a]: Invalid value: {{"int":1,"string":"x"}}: exactly one value must be specified'),
        ({"attributes": {"a": {"string": "x" * 65}}}, f"{AT}.attributes[a].string: Too long: may not be more than 64 bytes"),
        ({"attributes": {"a": {"version": "1.2"}}}, f'{AT}.attributes[a].version: Invalid value: "1.2": must be a string compatible with semver.org spec 2.0.0'),
        ({"attributes": {"a": {"version": "01.2.3"}}}, f'{AT}.attributes[a].version: Invalid value: "01.2.3"'),
        ({"attributes": {"a": {"version": "1.2.3-" + "x" * 60}}}, f"{AT}.attributes[a].version: Too long: may not be more than 64 bytes"),
        ({"attributes": {"a": {"ints": [1, 2]}}}, f'{AT}.attributes[a]: Invalid value: "": exactly one value must be specified'),
        ({"taints": [{"key": "a", "effect": "None"}] * 17}, f"{AT}.taints: Too many: 17: must have at most 16 items"),
        ({"taints": [{"key": "", "effect": "None"}]}, f'{AT}.taints[0].key: Invalid value: "": name part must be non-empty'),
        ({"taints": [{"key": "a", "value": "-", "effect": "None"}]}, f'{AT}.taints[0].value: Invalid value: "-": a valid label'),
        ({"taints": [{"key": "a", "effect": ""}]}, f"{AT}.taints[0].effect: Required value"),
        ({"taints": [{"key": "a", "effect": "PreferNoSchedule"}]}, f'{AT}.taints[0].effect: Unsupported value: "PreferNoSchedule": supported values: "NoExecute", "NoSchedule", "None"'),
        ({"consumesCounters": [{"counterSet": "", "counters": COUNTERS}]}, f"{AT}.consumesCounters[0].counterSet: Required value"),
        ({"consumesCounters": [{"counterSet": "a", "counters": {}}]}, f"{AT}.consumesCounters[0].counters: Required value"),
        ({"consumesCounters": [{"counterSet": "a", "counters": COUNTERS}] * 2}, f'{AT}.consumesCounters[1]: Duplicate value: "a"'),
        ({"consumesCounters": [{"counterSet": f"s{i}", "counters": COUNTERS} for i in range(3)]}, f"{AT}.consumesCounters: Too many: 3: must have at most 2 items"),
        ({"nodeName": "n"}, f"{AT}: Invalid value: null: `nodeName`, `nodeSelector` and `allNodes` can only be set if"),
        ({"bindingConditions": ["a"]}, f"{AT}.bindingFailureConditions: Invalid value: []: bindingFailureConditions are required"),
        ({"bindingFailureConditions": ["a"]}, f"{AT}.bindingConditions: Invalid value: []: bindingConditions are required"),
        ({"bindingConditions": ["a"], "bindingFailureConditions": ["a"]}, f'{AT}.bindingFailureConditions[0]: Invalid value: "a": bindingFailureConditions must not overlap with bindingConditions'),
        ({"bindingConditions": ["a", "a"], "bindingFailureConditions": ["b"]}, f'{AT}.bindingConditions[1]: Duplicate value: "a"'),
        ({"bindingConditions": list("abcde"), "bindingFailureConditions": ["f"]}, f"{AT}.bindingConditions: Too many: 5: must have at most 4 items"),
        ({"capacity": {"memory": {"value": "1", "requestPolicy": {"default": "1"}}}}, f"{AT}.capacity[memory].requestPolicy: Forbidden: allowMultipleAllocations must be true"),
    ],
)  # fmt: skip
def test_a_device_is_described_in_a_few_short_words(device: dict[str, Any], fault: str) -> None:
    found = faults(slice_(devices=[{"name": "d", **device}]))
    assert found[0].startswith(fault) if fault else found == []


POLICY = f"{AT}.capacity[memory].requestPolicy"


@pytest.mark.parametrize(
    ("policy", "fault"),
    [
        ({"default": "1Gi"}, ""),
        ({"default": "1Gi", "validValues": ["1Gi", "2Gi"]}, ""),
        ({"default": "2Gi", "validRange": {"min": "1Gi", "max": "4Gi", "step": "1Gi"}}, ""),
        ({"default": "1500m", "validRange": {"min": "500m", "step": "500m"}}, ""),
        ({"default": "1", "validValues": ["1"], "validRange": {"min": "1"}}, ": Forbidden: exactly one policy can be specified, cannot specify"),
        ({"validValues": ["1Gi"]}, ".default: Required value: required when validValues is defined"),
        ({"validRange": {"min": "1Gi"}}, ".default: Required value: required when validRange is defined"),
        ({"default": "1Gi", "validValues": ["2Gi", "1Gi"]}, '.validValues[1]: Invalid value: "1Gi": values must be sorted in ascending order'),
        ({"default": "1Gi", "validValues": ["1Gi", "1024Mi"]}, '.validValues[1]: Duplicate value: "1073741824"'),
        ({"default": "1Gi", "validValues": ["1Gi", "20Gi"]}, '.validValues[1]: Invalid value: "20Gi": option is larger than capacity value: 10Gi'),
        ({"default": "3Gi", "validValues": ["1Gi"]}, '.validValues: Invalid value: "3Gi": default value is not valid according to the requestPolicy'),
        ({"default": "1", "validValues": [str(i) for i in range(1, 12)]}, ".validValues: Too many: 11: must have at most 10 items"),
        ({"default": "1Gi", "validRange": {}}, ".validRange.min: Required value: required when validRange is defined"),
        ({"default": "20Gi", "validRange": {"min": "20Gi"}}, '.validRange.min: Invalid value: "20Gi": min is larger than capacity value: 10Gi'),
        ({"default": "1Gi", "validRange": {"min": "2Gi"}}, '.validRange.default: Invalid value: "1Gi": default is less than min: 2Gi'),
        ({"default": "2Gi", "validRange": {"min": "2Gi", "max": "1Gi"}}, '.validRange.max: Invalid value: "2Gi": min is larger than max: 1Gi'),
        ({"default": "1Gi", "validRange": {"min": "1Gi", "max": "20Gi"}}, '.validRange.max: Invalid value: "20Gi": max is larger than capacity value: 10Gi'),
        ({"default": "3Gi", "validRange": {"min": "1Gi", "max": "2Gi"}}, '.validRange.default: Invalid value: "3Gi": default is more than max: 2Gi'),
        ({"default": "1Gi", "validRange": {"min": "1Gi", "step": "0"}}, '.validRange.step: Invalid value: "0": must be greater than zero'),
        ({"default": "1Gi", "validRange": {"min": "1Gi", "step": "10Gi"}}, '.validRange.step: Invalid value: "10Gi": one step 11Gi is larger than capacity value: 10Gi'),
        ({"default": "2Gi", "validRange": {"min": "1Gi", "step": "3Gi"}}, '.validRange.step: Invalid value: "2Gi": value is not a multiple of a given step (3Gi) from (1Gi)'),
        ({"default": "1Gi", "validRange": {"min": "1Gi", "max": "3Gi", "step": "3Gi"}}, '.validRange.step: Invalid value: "3Gi": value is not a multiple'),
        ({"default": "1", "validRange": {"min": "1", "step": "1u"}}, '.validRange.step: Invalid value: "1u": value cannot be represented as a milli value'),
        ({"default": "0", "validRange": {"min": "-1", "step": "1"}}, '.validRange.min: Invalid value: "-1": must be greater than or equal to 0'),
    ],
)  # fmt: skip
def test_shares_of_a_capacity_are_measured(policy: dict[str, Any], fault: str) -> None:
    capacity = {"memory": {"value": "10Gi", "requestPolicy": policy}}
    found = faults(slice_(devices=[{"name": "d", "allowMultipleAllocations": True, "capacity": capacity}]))
    assert found[0].startswith(POLICY + fault) if fault else found == []


@pytest.mark.parametrize(
    ("device", "fault"),
    [
        ({"nodeName": "n"}, ""),
        ({"allNodes": True}, ""),
        ({"nodeSelector": {"nodeSelectorTerms": [TERM]}}, ""),
        ({}, f"{AT}: Required value: {ONE_DEVICE_PLACE}"),
        ({"nodeName": "n", "allNodes": True}, f'{AT}: Invalid value: "{{`nodeName`, `allNodes`}}": {ONE_DEVICE_PLACE}'),
        ({"nodeName": "n", "allNodes": False}, f"{AT}.allNodes: Invalid value: false: must be either unset or set to true"),
        ({"nodeName": "A"}, f'{AT}.nodeName: Invalid value: "A": a lowercase RFC 1123 subdomain'),
    ],
)  # fmt: skip
def test_devices_may_each_have_their_place(device: dict[str, Any], fault: str) -> None:
    found = faults(slice_(nodeName="", perDeviceNodeSelection=True, devices=[{"name": "d", **device}]))
    assert found[0].startswith(fault) if fault else found == []


def test_a_slice_stays_its_drivers_its_pools_and_its_nodes() -> None:
    new = slice_(driver="other.example.com", nodeName="m", pool={**POOL, "name": "q"})
    assert faults_of_update(new, slice_()) == [
        'spec.pool.name: Invalid value: "q": field is immutable',
        'spec.driver: Invalid value: "other.example.com": field is immutable',
        'spec.nodeName: Invalid value: "m": field is immutable',
    ]
    assert faults_of_update(slice_(pool={**POOL, "generation": 2}, devices=[{"name": "d"}]), slice_()) == []


def test_a_slice_counts_its_generations_and_forgets_what_nobody_here_knows() -> None:
    old = slice_(
        devices=[{"name": "d", "nodeAllocatableResources": {"cpu": {}}}],
        skipNodeOperations=["*"], partitionTypeAttribute="a.example.com/b",
    )  # fmt: skip
    assert faults(old) == []
    spec = old[1].spec
    assert (spec.skipNodeOperations, spec.partitionTypeAttribute) == ([], "")
    assert spec.devices[0].nodeAllocatableResources == {}
    new = slice_(devices=[])
    assert faults_of_update(new, old) == []
    assert (old[1].metadata.generation, new[1].metadata.generation) == (1, 2)


def test_an_amount_that_nobody_gave_is_none() -> None:
    consumed = [{"counterSet": "a", "counters": {"memory": {}}}]
    made = slice_(devices=[{"name": "d", "capacity": {"memory": {}}, "consumesCounters": consumed}])
    assert faults(made) == []
    [device] = made[1].spec.devices
    assert device.capacity["memory"].value == device.consumesCounters[0].counters["memory"].value == "0"
    made = slice_(sharedCounters=[{"name": "a", "counters": {"memory": {}}}])
    assert made[1].spec.sharedCounters[0].counters["memory"].value == "0"
    range_ = {"min": "1", "max": "", "step": ""}
    capacity = {"memory": {"value": "", "requestPolicy": {"default": "1", "validRange": range_}}}
    found = faults(slice_(devices=[{"name": "d", "allowMultipleAllocations": True, "capacity": capacity}]))
    assert found == [f'{POLICY}.validRange.min: Invalid value: "1": min is larger than capacity value: 0']


def test_a_driver_in_capitals_is_warned() -> None:
    made = slice_(driver="GPU.example.com")
    assert faults(made) == []
    assert warnings(*made, None) == [
        'spec.driver: driver names should be lowercase; "GPU.example.com" contains uppercase characters'
    ]
    assert warnings(*slice_(), None) == []


# --- classes


def selector(expression: str) -> dict[str, Any]:
    return {"cel": {"expression": expression}}


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ({}, ""),
        ({"selectors": [selector("device.driver == 'gpu.example.com'")], "extendedResourceName": "example.com/gpu"}, ""),
        ({"selectors": [selector("1")]}, 'spec.selectors[0].cel.expression: Invalid value: "1": must evaluate to bool or the unknown type, not int'),
        ({"selectors": [selector("true")] * 33}, "spec.selectors: Too many: 33: must have at most 32 items"),
        ({"config": [{}]}, "spec.config[0].opaque: Required value"),
        ({"config": [{"opaque": {"driver": "a", "parameters": {}}}] * 33}, "spec.config: Too many: 33: must have at most 32 items"),
        ({"config": [{"opaque": {"driver": "a", "parameters": "x"}}]}, 'spec.config[0].opaque.parameters: Invalid value: "<value omitted>": must be a valid JSON object'),
        ({"extendedResourceName": "gpu"}, 'spec.extendedResourceName: Invalid value: "gpu": must be a valid extended resource name'),
        ({"extendedResourceName": "kubernetes.io/gpu"}, 'spec.extendedResourceName: Invalid value: "kubernetes.io/gpu"'),
        ({"extendedResourceName": "requests.example.com/gpu"}, 'spec.extendedResourceName: Invalid value: "requests.'),
    ],
)  # fmt: skip
def test_a_class_selects_devices(spec: dict[str, Any], fault: str) -> None:
    found = faults(written("DeviceClass", spec))
    assert found[0].startswith(fault) if fault else found == []


def test_what_a_class_has_selected_so_far_it_may_go_on_selecting() -> None:
    bad = {"selectors": [selector("device.vendor == 'x'")]}
    before = written("DeviceClass", bad)
    assert faults_of_update(written("DeviceClass", {**bad, "extendedResourceName": "example.com/gpu"}), before) == []
    worse = written("DeviceClass", {"selectors": [*bad["selectors"], selector("true")]})
    assert faults_of_update(worse, before)[0].startswith("spec.selectors[0].cel.expression: Invalid value")
