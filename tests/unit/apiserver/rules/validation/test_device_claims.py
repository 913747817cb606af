"""What claims for devices may ask for, and what their status may say."""

from typing import Any

import pytest

from tests.unit.apiserver.rules.devices import (
    ALLOCATION,
    CONSUMER,
    EXACTLY,
    REQUEST,
    RESULT,
    claim,
    faults,
    faults_of_update,
    written,
)

AT = "spec.devices.requests[0]"
NOT_A_LABEL = "a lowercase RFC 1123 label must consist of"
NO_REQUEST = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
TWO = {"name": "two", "firstAvailable": [{"name": "big", **EXACTLY}, {"name": "small", **EXACTLY}]}
OPAQUE = {"opaque": {"driver": "gpu.example.com", "parameters": {"a": 1}}}
LOOP = "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10].all({}, {})"


def exactly(**more: Any) -> dict[str, Any]:
    return {"name": "one", "exactly": {**EXACTLY, **more}}


def selecting(expression: str) -> dict[str, Any]:
    return exactly(selectors=[{"cel": {"expression": expression}}])


def costly() -> str:
    expression = "device.driver == 'x'"
    for name in "abcdefg":
        expression = LOOP.format(name, expression)
    return expression


def test_a_request_is_for_one_device_unless_it_says_otherwise() -> None:
    made = claim(REQUEST, TWO)
    assert faults(made) == []
    devices = made[1].spec.devices.requests
    assert (devices[0].exactly.allocationMode, devices[0].exactly.count) == ("ExactCount", 1)
    assert [(it.allocationMode, it.count) for it in devices[1].firstAvailable] == [("ExactCount", 1)] * 2


@pytest.mark.parametrize(
    "request_",
    [
        exactly(allocationMode="All"),
        exactly(count=3),
        exactly(tolerations=[{"key": "a", "operator": "Exists"}, {"key": "b", "value": "c", "effect": "NoExecute"}]),
        exactly(capacity={"requests": {"memory": "10Gi"}}),
        selecting('device.attributes["gpu.example.com"].model == "fish"'),
        selecting('device.capacity["gpu.example.com"].memory.compareTo(quantity("1Gi")) >= 0'),
    ],
)
def test_much_can_be_asked_for(request_: dict[str, Any]) -> None:
    assert faults(claim(request_)) == []


@pytest.mark.parametrize(
    ("request_", "fault"),
    [
        ({"name": "one"}, f"{AT}: Required value: exactly one of `exactly` or `firstAvailable` is required"),
        ({**TWO, **REQUEST}, f"{AT}: Invalid value: null: exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set"),
        ({**REQUEST, "name": ""}, f'{AT}.name: Invalid value: "": {NOT_A_LABEL}'),
        ({**REQUEST, "name": "a.b"}, f'{AT}.name: Invalid value: "a.b": must not contain dots'),
        (exactly(deviceClassName=""), f"{AT}.exactly.deviceClassName: Required value"),
        (exactly(deviceClassName="A"), f'{AT}.exactly.deviceClassName: Invalid value: "A": a lowercase RFC 1123 subdomain'),
        (exactly(selectors=[{}]), f"{AT}.exactly.selectors[0].cel: Required value"),
        (exactly(selectors=[{"cel": {"expression": "true"}}] * 33), f"{AT}.exactly.selectors: Too many: 33: must have at most 32 items"),
        (selecting("?!"), f'{AT}.exactly.selectors[0].cel.expression: Invalid value: "?!": compilation failed: ERROR: <input>:1:1: Syntax error'),
        (selecting("device.driver"), f'{AT}.exactly.selectors[0].cel.expression: Invalid value: "device.driver": must evaluate to bool or the unknown type, not string'),
        (selecting("true || " * 2000 + "true"), f"{AT}.exactly.selectors[0].cel.expression: Too long: may not be more than 10240 bytes"),
        (selecting(costly()), f"{AT}.exactly.selectors[0].cel.expression: Forbidden: too complex, exceeds cost limit"),
        (exactly(allocationMode="All", count=2), f"{AT}.exactly.count: Invalid value: 2: must not be specified when allocationMode is 'All'"),
        (exactly(count=-1), f"{AT}.exactly.count: Invalid value: -1: must be greater than zero"),
        (exactly(allocationMode="Some"), f'{AT}.exactly.allocationMode: Unsupported value: "Some": supported values: "All", "ExactCount"'),
        (exactly(tolerations=[{"key": "a"}] * 17), f"{AT}.exactly.tolerations: Too many: 17: must have at most 16 items"),
        (exactly(tolerations=[{"key": "-", "operator": "Exists"}]), f'{AT}.exactly.tolerations[0].key: Invalid value: "-": name part must consist of'),
        (exactly(tolerations=[{"operator": "Exists", "value": "x"}]), f'{AT}.exactly.tolerations[0].value: Invalid value: "x": must be empty for operator `Exists`'),
        (exactly(tolerations=[{"key": "a", "value": "-"}]), f'{AT}.exactly.tolerations[0].value: Invalid value: "-": a valid label must be an empty string'),
        (exactly(tolerations=[{"key": "a", "operator": "Like"}]), f'{AT}.exactly.tolerations[0].operator: Unsupported value: "Like": supported values: "Equal", "Exists"'),
        (exactly(tolerations=[{"key": "a", "effect": "Never"}]), f'{AT}.exactly.tolerations[0].effect: Unsupported value: "Never": supported values: "NoExecute", "NoSchedule", "None"'),
        ({**TWO, "firstAvailable": [{"name": f"a{i}", **EXACTLY} for i in range(9)]}, f"{AT}.firstAvailable: Too many: 9: must have at most 8 items"),
        ({**TWO, "firstAvailable": [{"name": "big", **EXACTLY}] * 2}, f'{AT}.firstAvailable[1]: Duplicate value: "big"'),
        ({**TWO, "firstAvailable": [{"name": "A", **EXACTLY}]}, f'{AT}.firstAvailable[0].name: Invalid value: "A": {NOT_A_LABEL}'),
        ({**TWO, "firstAvailable": [{"name": "a"}]}, f"{AT}.firstAvailable[0].deviceClassName: Required value"),
    ],
)  # fmt: skip
def test_a_request_says_what_it_is_for(request_: dict[str, Any], fault: str) -> None:
    [found] = faults(claim(request_))
    assert found.startswith(fault)


def test_there_are_not_too_many_requests_and_each_has_its_name() -> None:
    assert faults(claim(REQUEST, REQUEST)) == ['spec.devices.requests[1]: Duplicate value: "one"']
    many = [{**REQUEST, "name": f"r{i}"} for i in range(33)]
    assert faults(claim(*many)) == ["spec.devices.requests: Too many: 33: must have at most 32 items"]


def test_selectors_of_megabytes_are_not_read() -> None:
    # They take eleven seconds.
    request = exactly(selectors=[{"cel": {"expression": "true || " * 1000 + "true"}}] * 16)
    fault = "spec.devices.requests: Forbidden: too complex, selectors of more than 131072 characters"
    assert faults(claim(request, {**request, "name": "two"})) == [fault]
    assert faults(claim(request)) == []


@pytest.mark.parametrize(
    ("devices", "fault"),
    [
        ({"constraints": [{"requests": ["one", "two/big"], "matchAttribute": "a.example.com/numa"}]}, ""),
        ({"constraints": [{"distinctAttribute": "a.example.com/numa"}]}, ""),
        ({"constraints": [{"requests": ["three"], "matchAttribute": "a/b"}]}, f'constraints[0].requests[0]: Invalid value: "three": {NO_REQUEST}'),
        ({"constraints": [{"requests": ["two/three"], "matchAttribute": "a/b"}]}, f'constraints[0].requests[0]: Invalid value: "two/three": {NO_REQUEST}'),
        ({"constraints": [{"requests": ["one/big/x"], "matchAttribute": "a/b"}]}, f'constraints[0].requests[0]: Invalid value: "one/big/x": {NO_REQUEST}'),
        ({"constraints": [{"requests": ["one", "one"], "matchAttribute": "a/b"}]}, 'constraints[0].requests[1]: Duplicate value: "one"'),
        ({"constraints": [{}]}, 'constraints[0]: Required value: exactly one of "matchAttribute" or "distinctAttribute" is required'),
        ({"constraints": [{"matchAttribute": "numa"}]}, 'constraints[0].matchAttribute: Invalid value: "numa": a fully qualified name must be a domain and a name separated by a slash'),
        ({"constraints": [{"matchAttribute": "a/b/c"}]}, 'constraints[0].matchAttribute: Invalid value: "a/b/c": must not contain more than one slash'),
        ({"constraints": [{"matchAttribute": "/b"}]}, 'constraints[0].matchAttribute: Invalid value: "": the domain must not be empty'),
        ({"constraints": [{"matchAttribute": "a/"}]}, 'constraints[0].matchAttribute: Invalid value: "": the name must not be empty'),
        ({"constraints": [{"distinctAttribute": "a/0"}]}, 'constraints[0].distinctAttribute: Invalid value: "0": a valid C identifier must start with'),
        ({"constraints": [{"matchAttribute": "a/" + "x" * 33}]}, "constraints[0].matchAttribute: Too long: may not be more than 32 bytes"),
        ({"constraints": [{"matchAttribute": "a/b"}] * 33}, "constraints: Too many: 33: must have at most 32 items"),
        ({"config": [{"requests": ["one"], **OPAQUE}]}, ""),
        ({"config": [{"requests": ["three"], **OPAQUE}]}, f'config[0].requests[0]: Invalid value: "three": {NO_REQUEST}'),
        ({"config": [{}]}, "config[0].opaque: Required value"),
        ({"config": [OPAQUE] * 33}, "config: Too many: 33: must have at most 32 items"),
        ({"config": [{"opaque": {"parameters": {}}}]}, "config[0].opaque.driver: Required value"),
        ({"config": [{"opaque": {"driver": "a" * 64, "parameters": {}}}]}, "config[0].opaque.driver: Too long: may not be more than 63 bytes"),
        ({"config": [{"opaque": {"driver": "a"}}]}, "config[0].opaque.parameters: Required value"),
        ({"config": [{"opaque": {"driver": "a", "parameters": [1]}}]}, 'config[0].opaque.parameters: Invalid value: "<value omitted>": must be a valid JSON object'),
        ({"config": [{"opaque": {"driver": "a", "parameters": {"x": "y" * 10240}}}]}, "config[0].opaque.parameters: Too long: may not be more than 10240 bytes"),
    ],
)  # fmt: skip
def test_constraints_and_parameters_are_about_requests_of_the_claim(devices: dict[str, Any], fault: str) -> None:
    found = faults(claim(REQUEST, TWO, **devices))
    assert found[0].startswith(f"spec.devices.{fault}") if fault else found == []


def test_a_template_is_judged_like_the_claim_that_it_becomes() -> None:
    labels = {"metadata": {"labels": {"a": "-"}}}
    made = written("ResourceClaimTemplate", {**labels, "spec": {"devices": {"requests": [selecting("1")]}}})
    found = faults(made)
    assert found[0].startswith('spec.metadata.labels: Invalid value: "-"')
    assert found[1].startswith("spec.spec.devices.requests[0].exactly.selectors[0].cel.expression: Invalid value")


def test_a_claim_and_a_template_stay_as_they_are() -> None:
    [found] = faults_of_update(claim({**REQUEST, "name": "two"}), claim(REQUEST))
    assert found.startswith("spec: Invalid value")
    assert found.endswith("field is immutable")
    template = {"spec": {"devices": {"requests": [REQUEST]}}}
    kind = "ResourceClaimTemplate"
    [found] = faults_of_update(written(kind, template), written(kind, {"spec": {}}))
    assert found.startswith("spec: Invalid value")


# --- the status


def given(status: Any, before: Any = None, *requests: dict[str, Any], deleting: bool = False) -> list[str]:
    """What is wrong with a status in the place of another."""
    spec = {"devices": {"requests": list(requests) or [REQUEST, TWO]}}
    metadata = {"deletionTimestamp": "2026-01-01T00:00:00Z"} if deleting else {}
    new, old = (written("ResourceClaim", spec, s or {}, **metadata) for s in (status, before))
    return faults_of_update(new, old, "status")


def result(**more: Any) -> dict[str, Any]:
    return {"allocation": {"devices": {"results": [{**RESULT, **more}]}}}


def configured(**more: Any) -> dict[str, Any]:
    config = {"source": "FromClass", "requests": ["one"], **OPAQUE, **more}
    return {"allocation": {"devices": {"results": [RESULT], "config": [config]}}}


RESULTS = "status.allocation.devices.results"
CONFIG = "status.allocation.devices.config"
TERM = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        ({"allocation": ALLOCATION, "reservedFor": [CONSUMER]}, ""),
        ({"allocation": {**ALLOCATION, "nodeSelector": {"nodeSelectorTerms": [TERM]}}}, ""),
        (result(request="two/small", pool="a.b/c", tolerations=[{"key": "a"}], adminAccess=False), ""),
        (result(shareID="a671734a-e8e5-11e4-8fde-42010af09327", consumedCapacity={"memory": "1Gi"}), ""),
        (configured(), ""),
        ({"allocation": {**ALLOCATION, "nodeSelector": {}}}, "status.allocation.nodeSelector.nodeSelectorTerms: Required value: must have at least one node selector term"),
        ({"allocation": {"devices": {"results": [RESULT] * 33}}}, f"{RESULTS}: Too many: 33: must have at most 32 items"),
        (result(request="three"), f'{RESULTS}[0].request: Invalid value: "three": {NO_REQUEST}'),
        (result(driver=""), f"{RESULTS}[0].driver: Required value"),
        (result(driver="-"), f'{RESULTS}[0].driver: Invalid value: "-": a lowercase RFC 1123 subdomain'),
        (result(pool=""), f"{RESULTS}[0].pool: Required value"),
        (result(pool="a//b"), f'{RESULTS}[0].pool: Invalid value: "": a lowercase RFC 1123 subdomain'),
        (result(device=""), f'{RESULTS}[0].device: Invalid value: "": {NOT_A_LABEL}'),
        (result(shareID="A671734a"), f'{RESULTS}[0].shareID: Invalid value: "A671734a": must be a lowercase UUID in 8-4-4-4-12 format'),
        (result(bindingConditions=["a"]), f"{RESULTS}[0].bindingFailureConditions: Invalid value: []: bindingFailureConditions are required to use bindingConditions"),
        (configured(source=""), f"{CONFIG}[0].source: Required value"),
        (configured(source="FromAbove"), f'{CONFIG}[0].source: Unsupported value: "FromAbove": supported values: "FromClaim", "FromClass"'),
        (configured(requests=["three"]), f'{CONFIG}[0].requests[0]: Invalid value: "three": {NO_REQUEST}'),
        (configured(opaque=None), f"{CONFIG}[0].opaque: Required value"),
        ({"reservedFor": [CONSUMER]}, "status.reservedFor: Forbidden: may not be specified when `allocated` is not set"),
        ({"allocation": ALLOCATION, "reservedFor": [CONSUMER, CONSUMER]}, 'status.reservedFor[1]: Duplicate value: "u"'),
        ({"allocation": ALLOCATION, "reservedFor": [{**CONSUMER, "uid": str(i)} for i in range(257)]}, "status.reservedFor: Too many: 257: must have at most 256 items"),
        *(({"allocation": ALLOCATION, "reservedFor": [{**CONSUMER, name: ""}]}, f"status.reservedFor[0].{name}: Required value") for name in CONSUMER),
    ],
)  # fmt: skip
def test_an_allocation_answers_the_claim(status: dict[str, Any], fault: str) -> None:
    found = given(status)
    assert found[0].startswith(fault) if fault else found == []


def test_an_allocation_stays_until_it_is_taken_back() -> None:
    before = {"allocation": ALLOCATION, "reservedFor": [CONSUMER]}
    assert given({"allocation": ALLOCATION}, before) == []
    assert given({}, before) == []
    assert given({"reservedFor": [CONSUMER]}, before) == [
        "status.reservedFor: Forbidden: may not be specified when `allocated` is not set"
    ]
    [found] = given(result(device="other"), before)
    assert found.startswith("status.allocation: Invalid value")
    assert found.endswith("field is immutable")


def test_nobody_new_gets_a_claim_that_is_being_deleted() -> None:
    before = {"allocation": ALLOCATION, "reservedFor": [CONSUMER]}
    more = {**before, "reservedFor": [CONSUMER, {**CONSUMER, "uid": "v"}]}
    assert given(more, before) == []
    assert given(before, more, deleting=True) == []
    assert given(more, before, deleting=True) == [
        "status.reservedFor: Forbidden: new entries may not be added while `deallocationRequested` or "
        "`deletionTimestamp` are set"
    ]


DEVICE = {"driver": "gpu.example.com", "pool": "p", "device": "d"}
CONDITION = {
    "type": "Ready", "status": "True", "reason": "Fine", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"
}  # fmt: skip


@pytest.mark.parametrize(
    ("device", "fault"),
    [
        ({"conditions": [CONDITION], "data": {"a": 1}}, ""),
        ({"networkData": {"interfaceName": "eth0", "ips": ["10.9.8.7/24", "2001:db8::1/64"]}}, ""),
        ({"device": "e"}, 'status.devices[0]: Invalid value: {"Device":"e","Driver":"gpu.example.com","Pool":"p","ShareID":""}: must be an allocated device in the claim'),
        ({"conditions": [{**CONDITION, "type": f"T{i}"} for i in range(9)]}, "status.devices[0].conditions: Too many: 9: must have at most 8 items"),
        ({"conditions": [CONDITION, CONDITION]}, 'status.devices[0].conditions[1].type: Duplicate value: "Ready"'),
        ({"conditions": [{**CONDITION, "status": "Yes"}]}, 'status.devices[0].conditions[0].status: Unsupported value: "Yes": supported values: "False", "True", "Unknown"'),
        ({"conditions": [{**CONDITION, "reason": ""}]}, "status.devices[0].conditions[0].reason: Required value: must be set"),
        ({"conditions": [{**CONDITION, "reason": "0"}]}, 'status.devices[0].conditions[0].reason: Invalid value: "0": a condition reason must start with alphabetic character'),
        ({"conditions": [{**CONDITION, "lastTransitionTime": ""}]}, "status.devices[0].conditions[0].lastTransitionTime: Required value: must be set"),
        ({"conditions": [{**CONDITION, "observedGeneration": -1}]}, "status.devices[0].conditions[0].observedGeneration: Invalid value: -1: must be greater than or equal to zero"),
        ({"conditions": [{**CONDITION, "message": "x" * 32769}]}, "status.devices[0].conditions[0].message: Too long: may not be more than 32768 bytes"),
        ({"data": {"x": "y" * 10240}}, "status.devices[0].data: Too long: may not be more than 10240 bytes"),
        ({"data": [1]}, 'status.devices[0].data: Invalid value: "<value omitted>": must be a valid JSON object'),
        ({"networkData": {"interfaceName": "x" * 257}}, "status.devices[0].networkData.interfaceName: Too long: may not be more than 256 bytes"),
        ({"networkData": {"hardwareAddress": "x" * 129}}, "status.devices[0].networkData.hardwareAddress: Too long: may not be more than 128 bytes"),
        ({"networkData": {"ips": ["10.9.8.7"]}}, 'status.devices[0].networkData.ips[0]: Invalid value: "10.9.8.7": must be a valid address in CIDR form'),
        ({"networkData": {"ips": ["2001:db8:0::1/64"]}}, 'status.devices[0].networkData.ips[0]: Invalid value: "2001:db8:0::1/64": must be in canonical form ("2001:db8::1/64")'),
        ({"networkData": {"ips": ["10.9.8.7/24"] * 2}}, 'status.devices[0].networkData.ips[1]: Duplicate value: "10.9.8.7/24"'),
        ({"networkData": {"ips": [f"10.9.8.{i}/24" for i in range(17)]}}, "status.devices[0].networkData.ips: Too many: 17: must have at most 16 items"),
    ],
)  # fmt: skip
def test_drivers_speak_of_the_devices_that_were_allocated(device: dict[str, Any], fault: str) -> None:
    before = {"allocation": ALLOCATION}
    found = given({**before, "devices": [{**DEVICE, **device}]}, before)
    assert found[0].startswith(fault) if fault else found == []


def test_what_drivers_said_goes_with_the_allocation() -> None:
    before = {"allocation": ALLOCATION, "devices": [DEVICE]}
    new, old = claim(REQUEST, status={"devices": [DEVICE]}), claim(REQUEST, status=before)
    assert faults_of_update(new, old, "status") == []
    assert new[1].status.devices == []


def test_a_status_is_written_as_such_and_nothing_else_with_it() -> None:
    made = claim(REQUEST, status={"allocation": ALLOCATION})
    assert faults(made) == []
    assert made[1].status.allocation is None
    old = claim(REQUEST, status={"allocation": ALLOCATION})
    new = claim(REQUEST)
    assert faults_of_update(new, old) == []
    assert new[1].status.allocation == old[1].status.allocation
    new = claim({**REQUEST, "name": "two"}, status={"allocation": ALLOCATION})
    assert faults_of_update(new, old, "status") == []
    assert new[1].spec == old[1].spec


def test_what_belongs_to_features_that_are_not_there_is_not_kept() -> None:
    derived = [{"name": "a.example.com/b", "expression": "1"}]
    made = claim(
        exactly(derivedAttributes=derived),
        {**TWO, "firstAvailable": [{"name": "a", **EXACTLY, "derivedAttributes": derived}]},
    )
    assert faults(made) == []
    first, second = made[1].spec.devices.requests
    assert first.exactly.derivedAttributes == second.firstAvailable[0].derivedAttributes == []


def test_a_toleration_is_of_one_value_unless_it_says_otherwise() -> None:
    made = claim(exactly(tolerations=[{"key": "a", "value": "b"}]), status=result(tolerations=[{"key": "a"}]))
    assert made[1].spec.devices.requests[0].exactly.tolerations[0].operator == "Equal"
    assert made[1].status.allocation.devices.results[0].tolerations[0].operator == "Equal"
