import json

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, unknown_fields

from api import kinds
from apiserver import wire
from apiserver.wire import decoding, encoding
from apiserver.wire.messages import table
from tests.unit.apiserver.wire.samples import SCHEMA, filled

FIELD = descriptor_pb2.FieldDescriptorProto
# The messages that are one value in JSON, as the published .proto files have them.
SPECIAL = {
    "time": (FIELD.TYPE_INT64, FIELD.TYPE_INT32), "micro": (FIELD.TYPE_INT64, FIELD.TYPE_INT32),
    "duration": (FIELD.TYPE_INT64,), "quantity": (FIELD.TYPE_STRING,), "intorstring": (FIELD.TYPE_INT64, FIELD.TYPE_INT32, FIELD.TYPE_STRING),
    "raw": (FIELD.TYPE_BYTES,), "strings": (FIELD.TYPE_STRING,),
}  # fmt: skip
SCALARS = {
    "string": FIELD.TYPE_STRING, "bytes": FIELD.TYPE_BYTES, "int": FIELD.TYPE_INT64, "bool": FIELD.TYPE_BOOL,
    "double": FIELD.TYPE_DOUBLE,
}  # fmt: skip
SENT = sorted(table().names)


def document(api_version, kind):
    body = filled(table().names[api_version, kind])
    return {"apiVersion": "v1" if api_version == "*" else api_version, "kind": kind} | body


def round_trip(value):
    return json.loads(wire.decode(wire.encode(json.dumps(value).encode())))


@pytest.fixture(scope="module")
def official():
    """What the protobuf runtime makes of the table: the class of each message."""
    file = descriptor_pb2.FileDescriptorProto(name="table.proto", package="t", syntax="proto2")

    def add(message, number, kind, repeated=False):
        label = FIELD.LABEL_REPEATED if repeated else FIELD.LABEL_OPTIONAL
        field = message.field.add(name=f"f{number}", number=number, label=label)
        if isinstance(kind, int):
            field.type = kind
        else:
            field.type, field.type_name = FIELD.TYPE_MESSAGE, f".t.{kind}"

    for name, types in SPECIAL.items():
        message = file.message_type.add(name=name)
        for number, kind in enumerate(types, 1):
            add(message, number, kind, name == "strings")
    for name, fields in table().fields.items():
        message = file.message_type.add(name=name)
        for field in fields:
            kind = SCALARS.get(field.type, field.type)
            if field.many == "%":
                entry = file.message_type.add(name=f"{name}{field.number}Entry")
                add(entry, 1, FIELD.TYPE_STRING)
                add(entry, 2, kind)
                kind = entry.name
            add(message, field.number, kind, bool(field.many))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return lambda name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"t.{name}"))


@pytest.mark.parametrize(("api_version", "kind"), SENT)
def test_every_field_survives_both_ways(api_version, kind):
    value = document(api_version, kind)
    assert round_trip(value) == value


@pytest.mark.parametrize(("api_version", "kind"), SENT)
def test_the_protobuf_runtime_reads_what_is_written_and_is_read(api_version, kind, official):
    name = table().names[api_version, kind]
    message = official(name)()
    message.ParseFromString(encoding.write(name, filled(name)))
    assert unknown(message) == 0
    assert decoding.read(name, message.SerializeToString()) == filled(name)


def unknown(message):
    """How many values the runtime did not know, here and below."""
    count = len(unknown_fields.UnknownFieldSet(message))
    for field, value in message.ListFields():
        if field.message_type is not None:
            count += sum(unknown(each) for each in (value if field.is_repeated else [value]))
    return count


def test_every_kind_served_has_a_message_and_so_has_its_list():
    for kind in kinds.BUILT_IN:
        assert table().message(kind.api_version, kind.name), kind
        if "list" in kind.verbs:
            assert table().message(kind.api_version, f"{kind.name}List"), kind


def test_what_has_no_message_is_said():
    with pytest.raises(wire.NotKnown, match=r'no kind "Widget" is registered for version "example\.com/v1"'):
        wire.encode(b'{"apiVersion":"example.com/v1","kind":"Widget"}')


def test_a_watch_event_is_framed_by_its_length():
    status = b'{"apiVersion":"v1","kind":"Status","code":410}'
    frame = wire.frame("ERROR", status)
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    assert frame[4:].startswith(b"\x0a\x05ERROR\x12")
    assert frame.endswith(wire.encode(status))


@pytest.mark.parametrize("additional", [True, False, SCHEMA])
@pytest.mark.parametrize("items", [SCHEMA, [SCHEMA], []])
def test_a_schema_keeps_its_choices(additional, items):
    schema = {"items": items, "additionalProperties": additional, "properties": {"a": {"default": 0, "maximum": 0.5}}}
    version = {"name": "v1", "served": True, "storage": False, "schema": {"openAPIV3Schema": schema}}
    value = {"kind": "CustomResourceDefinition", "apiVersion": "apiextensions.k8s.io/v1"}
    value |= {"spec": {"group": "g", "scope": "Cluster", "names": {"plural": "x", "kind": "X"}, "versions": [version]}}
    found = round_trip(value)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert found == (schema if items else {k: v for k, v in schema.items() if k != "items"})
