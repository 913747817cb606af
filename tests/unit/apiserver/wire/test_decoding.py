import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver import wire
from apiserver.wire.decoding import read
from apiserver.wire.values import sized, tag, unsigned
from tests.unit.apiserver.wire.samples import DEPLOYMENT


def field(number, value):
    if isinstance(value, int):
        return tag(number, 0) + unsigned(value)
    return tag(number, 2) + sized(value.encode() if isinstance(value, str) else value)


def test_what_go_writes_for_nothing_is_nothing():
    labels = {"app": "web9"}
    assert json.loads(wire.decode(DEPLOYMENT)) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web9", "labels": labels},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "nginx", "image": "nginx", "ports": [{"containerPort": 80}]}]},
            },
        },
    }


def test_zero_behind_a_pointer_is_zero():
    assert read("DeploymentSpec", field(1, 0) + field(5, 0)) == {"replicas": 0}
    assert read("PodSpec", field(4, 0) + field(11, 0)) == {"terminationGracePeriodSeconds": 0}
    assert read("SecurityContext", field(4, 0) + field(5, 0)) == {"runAsUser": 0, "runAsNonRoot": False}
    assert read("Volume", field(1, "v") + field(2, field(2, b""))) == {"name": "v", "emptyDir": {}}


def test_zero_of_a_required_field_is_zero():
    assert read("ContainerStatus", field(4, 0) + field(5, 0)) == {"ready": False, "restartCount": 0}


def test_zero_times_are_no_times():
    assert read("ObjectMeta", field(8, b"") + field(9, field(1, 0) + field(2, 0))) == {}
    assert read("ObjectMeta", field(8, field(1, -1))) == {"creationTimestamp": "1969-12-31T23:59:59Z"}


def test_numbers_may_come_packed_and_maps_may_lack_a_value():
    assert read("PodSecurityContext", field(4, b"\x01\xac\x02")) == {"supplementalGroups": [1, 300]}
    assert read("ConfigMap", field(2, field(1, "k"))) == {"data": {"k": ""}}
    assert read("Secret", field(2, field(2, b"\xff"))) == {"data": {"": "/w=="}}


def test_unknown_fields_are_passed_over():
    unknown = field(1000, 5) + field(1001, b"abc") + tag(1002, 1) + bytes(8) + tag(1003, 5) + bytes(4)
    assert read("ConfigMap", unknown + field(4, 1)) == {"immutable": True}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", r"expected prefix \[107 56 115 0\]"),
        (b"{}", r"expected prefix \[107 56 115 0\]"),
        (b"k8s\0", "Object 'Kind' is missing"),
        (b"k8s\0\x0a\x05", "unexpected EOF"),
        (b"k8s\0\x08\x05", "wrong wireType"),
        (b"k8s\0" + field(1, field(1, "v9") + field(2, "Pod")), 'no kind "Pod" is registered for version "v9"'),
        (b"k8s\0" + field(1, field(1, "v1") + field(2, "Pod")) + field(2, b"\x0a\x7f"), "unexpected EOF"),
        (b"k8s\0" + field(1, field(1, "v1") + field(2, "Pod")) + field(2, b"\xfb\x3f"), "illegal wireType 3"),
        (b"k8s\0" + field(1, field(1, "v1") + field(2, "Pod")) + field(2, b"\xff" * 12), "integer overflow"),
    ],
)
def test_what_cannot_be_read_is_malformed(body, why):
    with pytest.raises(wire.Malformed, match=why):
        wire.decode(body)


def test_raw_values_must_be_json():
    """Otherwise a value could close its object and say other fields."""
    with pytest.raises(wire.Malformed):
        read("ControllerRevision", field(2, field(1, b'{}, "revision": 7')))


def test_messages_cannot_be_nested_without_end():
    body = b""
    for _ in range(3000):
        body = field(28, body)
    with pytest.raises(wire.Malformed, match="too deeply nested"):
        read("JSONSchemaProps", body)


@given(st.binary(max_size=40), st.integers(4, len(DEPLOYMENT)), st.integers(0, 40))
def test_a_damaged_message_is_malformed_or_something_else_but_no_surprise(noise, at, cut):
    with suppress(wire.Malformed):
        json.loads(wire.decode(DEPLOYMENT[:at] + noise + DEPLOYMENT[at + cut :]))
