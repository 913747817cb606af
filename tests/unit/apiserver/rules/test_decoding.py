import json
import random

import msgspec
import pytest

from api import kinds, meta
from api.errors import BadRequest
from api.types import ConfigMap, Deployment, Lease, Pod, Secret
from apiserver import syntax
from apiserver.rules import decode
from tests.unit.apiserver.rules.manifests import MANIFESTS

DEPLOYMENTS, PODS = kinds.of(Deployment), kinds.of(Pod)
UNFIT = 'Deployment in version "v1" cannot be handled as a Deployment: '
UNKNOWN = (
    "the object provided is unrecognized (must be of type Deployment): couldn't get version/kind; json parse error: "
)


def refused(document: bytes | str, kind=DEPLOYMENTS, validation="Strict") -> str:
    with pytest.raises(BadRequest) as caught:
        decode(kind, document.encode() if isinstance(document, str) else document, validation=validation)
    return caught.value.message


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (
            '{"spec":{"replicas":"3"}}',
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            '{"spec":{"replicas":1.5}}',
            "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            '{"spec":{"replicas":2147483648}}',
            "json: cannot unmarshal number 2147483648 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            '{"spec":"x"}',
            "json: cannot unmarshal string into Go struct field Deployment.spec of type v1.DeploymentSpec",
        ),
        (
            '{"spec":{"template":{"spec":{"containers":{}}}}}',
            "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container",
        ),
        (
            '{"metadata":{"labels":{"a":1}}}',
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            '{"metadata":{"labels":["a"]}}',
            "json: cannot unmarshal array into Go struct field ObjectMeta.metadata.labels of type map[string]string",
        ),
        (
            '{"spec":{"paused":"yes"}}',
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.paused of type bool",
        ),
        (
            '{"spec":{"template":{"spec":{"dnsPolicy":3}}}}',
            "json: cannot unmarshal number into Go struct field PodSpec.spec.template.spec.dnsPolicy of type v1.DNSPolicy",
        ),
        (
            '{"spec":{"strategy":{"rollingUpdate":{"maxSurge":true}}}}',
            "json: cannot unmarshal bool into Go value of type int32",
        ),
        ('{"metadata":{"creationTimestamp":5}}', "json: cannot unmarshal number into Go value of type string"),
        (
            '{"metadata":{"creationTimestamp":"x"}}',
            'parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006"',
        ),
        (
            '{"spec":{"template":{"spec":{"containers":[{"resources":{"limits":{"cpu":"x"}}}]}}}}',
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            '{"spec":{"template":{"spec":{"containers":[{"resources":{"limits":{"cpu":true}}}]}}}}',
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            '{"spec":{"paused":1,"replicas":"x"}}',
            "json: cannot unmarshal number into Go struct field DeploymentSpec.spec.paused of type bool",
        ),
    ],
)
def test_a_value_of_the_wrong_type_is_named_as_go_names_it(document, said):
    assert refused(document) == UNFIT + said


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (b"", "unexpected end of JSON input (<empty>)"),
        (b'{"kind":"Deployment","spec":{', 'unexpected end of JSON input ({"kind":"Deployment","spec":{)'),
        (b'{"a":1}x', "invalid character 'x' after top-level value ({\"a\":1}x)"),
        (b'{"a" 1}', "invalid character '1' after object key ({\"a\" 1})"),
        (b"{a:1}", "invalid character 'a' looking for beginning of object key string ({a:1})"),
        (b'{"a":1 "b":2}', 'invalid character \'"\' after object key:value pair ({"a":1 "b":2})'),
        (b'{"a":[1 2]}', "invalid character '2' after array element ({\"a\":[1 2]})"),
        (b'{"a":tru}', "invalid character '}' in literal true (expecting 'e') ({\"a\":tru})"),
        (b'{"a":01}', "invalid character '1' after object key:value pair ({\"a\":01})"),
        (b'{"a":"\\x"}', 'invalid character \'x\' in string escape code ({"a":"\\x"})'),
        (
            b"kind: Deployment",
            "invalid character 'k' looking for beginning of value (6b696e643a204465706c6f796d656e74)",
        ),
        (b'"' + b"x" * 40, "unexpected end of JSON input (" + (b'"' + b"x" * 29).hex() + " ...)"),
    ],
)
def test_malformed_json_is_described_in_gos_words(document, said):
    assert refused(document) == UNKNOWN + said


@pytest.mark.parametrize(
    "document",
    [
        b"[]",
        b"1",
        b'"x"',
        b"true",
        b'{"kind":1}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"metadata":' * 100_000,
        b'{"unknown":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"metadata":{"name":"\xed\xa0\x80"}}',
    ],
)
def test_what_is_no_object_at_all_is_a_bad_request_too(document):
    assert refused(document).startswith(
        "the object provided is unrecognized (must be of type Deployment): couldn't get"
    )


@pytest.mark.parametrize(
    ("identity", "said"),
    [
        (
            {"apiVersion": "apps/v1beta1", "kind": "Deployment"},
            "the API version in the data (apps/v1beta1) does not match the expected API version (apps/v1)",
        ),
        (
            {"apiVersion": "v1", "kind": "Pod"},
            'Pod in version "v1" cannot be handled as a Deployment: converting (v1.Pod) to (apps.Deployment): unknown conversion',
        ),
        (
            {"apiVersion": "x.io/v1", "kind": "Foo"},
            'Foo in version "v1" cannot be handled as a Deployment: no kind "Foo" is registered for version "x.io/v1" in scheme "pkg/api/legacyscheme/scheme.go:30"',
        ),
    ],
)
def test_another_kind_than_the_paths_is_refused(identity, said):
    assert refused(json.dumps(identity)) == said


def test_kind_and_version_are_taken_from_the_path_where_the_document_has_none():
    obj, _ = decode(DEPLOYMENTS, b'{"metadata":{"name":"d"}}')
    assert (obj.apiVersion, obj.kind, obj.metadata.name) == ("apps/v1", "Deployment", "d")


DOUBTFUL = b'{"spec":{"foo":1,"template":{"spec":{"containers":[{"name":"a"},{"name":"b","name":"c","bar":{"x":1}}]}},"replicas":2,"replicas":3}}'
SAID = [
    'unknown field "spec.foo"', 'duplicate field "spec.template.spec.containers[1].name"',
    'unknown field "spec.template.spec.containers[1].bar"', 'duplicate field "spec.replicas"',
]  # fmt: skip


def test_strict_decoding_names_unknown_and_duplicate_fields_in_the_order_of_the_document():
    assert refused(DOUBTFUL) == UNFIT + "strict decoding error: " + ", ".join(SAID)


@pytest.mark.parametrize(("validation", "warnings"), [("Warn", SAID), ("", SAID), ("Ignore", [])])
def test_otherwise_they_are_warnings_and_the_last_value_counts(validation, warnings):
    obj, said = decode(DEPLOYMENTS, DOUBTFUL, validation=validation)
    assert said == warnings
    assert obj.spec.replicas == 3
    assert [c.name for c in obj.spec.template.spec.containers] == ["a", "c"]


@pytest.mark.parametrize(
    "document", ['{"metadata":{"labels":{"a":"1","a":"2"}}}', '{"metadata":{"name":"a:b","name":"c:d"}}']
)
def test_duplicates_are_found_in_maps_and_beside_colons_in_values(document):
    assert "duplicate field" in refused(document)


def test_colons_and_braces_in_values_and_white_space_are_no_duplicates():
    document = json.dumps({"metadata": {"name": "x"}, "data": {"a": '{"b": "c:d", "b": 1}', "e": "::"}}, indent=3)
    assert decode(kinds.of(ConfigMap), document.encode(), validation="Strict")[1] == []


def test_nulls_are_absent_fields_and_zero_values_in_maps():
    document = b'{"metadata":{"name":null,"labels":{"a":null,"b":"c"}},"spec":{"replicas":null,"template":{"spec":{"containers":[{"name":"x","ports":null,"env":[null]}],"volumes":null}}},"status":null}'
    obj, warnings = decode(DEPLOYMENTS, document, validation="Strict")
    assert warnings == []
    assert obj.metadata.labels == {"a": "", "b": "c"}
    assert obj.spec.replicas is None
    assert obj.spec.template.spec.volumes == []
    assert obj.spec.template.spec.containers[0].ports == []


def test_an_unknown_field_beside_a_null_is_still_found():
    assert decode(DEPLOYMENTS, b'{"spec":{"foo":null,"bar":1,"replicas":null}}')[1] == [
        'unknown field "spec.foo"',
        'unknown field "spec.bar"',
    ]


def test_a_hundred_unknown_fields_are_told_as_upstream_tells_them():
    document = json.dumps({"spec": {f"x{n}": n for n in range(200)}}).encode()
    assert decode(DEPLOYMENTS, document)[1] == [f'unknown field "spec.x{n}"' for n in range(100)]


@pytest.mark.parametrize("beside", ["", '"kind":"Deployment","kind":"Deployment",'])
def test_an_unknown_number_may_have_more_digits_than_python_makes_an_integer_of(beside):
    document = f'{{{beside}"spec":{{"foo":{"1" * 5000}}}}}'.encode()
    twice = ['duplicate field "kind"'] if beside else []
    assert decode(DEPLOYMENTS, document)[1] == [*twice, 'unknown field "spec.foo"']


def test_quantities_come_out_in_canonical_form():
    limits = {"cpu": 0.5, "memory": "1.5Gi", "ephemeral-storage": 1000, "x.io/y": "0"}
    document = {
        "spec": {
            "containers": [{"resources": {"limits": limits}}],
            "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1024Ki"}}],
        }
    }
    obj, _ = decode(PODS, json.dumps(document).encode())
    assert obj.spec.containers[0].resources.limits == {
        "cpu": "500m",
        "memory": "1536Mi",
        "ephemeral-storage": "1k",
        "x.io/y": "0",
    }
    assert obj.spec.volumes[0].emptyDir.sizeLimit == "1Mi"


def test_secrets_hold_base64_and_nothing_else():
    assert (
        refused('{"data":{"a":"eA==","b":"e!=="}}', kinds.of(Secret))
        == 'Secret in version "v1" cannot be handled as a Secret: illegal base64 data at input byte 1'
    )


@pytest.mark.parametrize("time", ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.123456Z", "2026-01-01T00:00:00+01:00"])
def test_times_of_both_precisions_are_read(time):
    assert decode(kinds.of(Lease), json.dumps({"spec": {"renewTime": time}}).encode())[0].spec.renewTime == time


@pytest.mark.parametrize("name", MANIFESTS)
def test_what_was_decoded_and_encoded_decodes_to_the_same(name):
    manifest = MANIFESTS[name]
    kind = kinds.by_name(manifest["apiVersion"], manifest["kind"])
    once, _ = decode(kind, json.dumps(manifest).encode(), validation="Strict")
    assert decode(kind, meta.encode(once), validation="Strict") == (once, [])


def test_the_scanner_finds_fault_with_what_msgspec_refuses_and_with_nothing_else():
    rng = random.Random(7)
    good = json.dumps(MANIFESTS["Deployment"] | {"n": [1, -2.5e3, True, None, "\\u00e9\n"]}).encode()
    for _ in range(2000):
        at = rng.randrange(len(good))
        text = good[:at] + bytes([rng.choice(b'{}[]",:tfn0-e.\\x ')]) + good[at + rng.randrange(3) :]
        try:
            msgspec.json.decode(text)
        except msgspec.DecodeError:
            assert syntax.fault_of(text) != "invalid JSON", text
        else:
            assert syntax.fault_of(text) == "invalid JSON", text


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (b"[1,", "unexpected end of JSON input"),
        (b'{"kind":1', "unexpected end of JSON input"),
        (b"1x", "invalid character 'x' after top-level value"),
        (b'"\xff', "unexpected end of JSON input"),
    ],
)
def test_what_is_neither_an_object_nor_json_is_no_json_first(document, said):
    with pytest.raises(BadRequest) as caught:
        decode(kinds.of(Deployment), document)
    assert f"couldn't get version/kind; json parse error: {said} (" in caught.value.message


def test_of_a_long_text_only_the_beginning_is_looked_at_closely():
    much = b"1," * syntax.MOST_SCANNED
    assert syntax.fault_of(b"[x" + much) == "invalid character 'x' looking for beginning of value"
    assert syntax.fault_of(b"[" + much + b"x") == syntax.fault_of(b"[" + much) == "invalid JSON"
    assert syntax.fault_of(b"[" * len(much)) == "exceeded max depth"
