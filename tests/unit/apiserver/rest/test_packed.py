"""OpenAPI version 2 in the protobuf of gnostic."""

from apiserver.rest.openapi.packed import pack
from apiserver.wire.values import pieces

GVK = {"group": "", "kind": "A", "version": "v1"}
DOCUMENT = {
    "swagger": "2.0",
    "info": {"title": "T", "version": "v1"},
    "paths": {
        "/a": {
            "get": {
                "operationId": "readA",
                "x-kubernetes-action": "get",
                "parameters": [
                    {"name": "name", "in": "path", "required": True, "type": "string"},
                    {"name": "body", "in": "body", "schema": {"$ref": "#/definitions/A"}},
                ],
                "responses": {"200": {"description": "OK", "schema": {"$ref": "#/definitions/A"}}},
            }
        }
    },
    "definitions": {
        "A": {
            "type": "object",
            "required": ["b"],
            "properties": {
                "b": {"type": "array", "items": {"type": "string"}},
                "c": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}},
                "x-d": {"type": "string"},
            },
            "x-kubernetes-group-version-kind": [GVK],
        }
    },
}


def read(message: bytes, *path: int) -> bytes | int:
    """The field at the end of a path of field numbers; where several have one number, the last."""
    for number in path:
        message = pieces(message, 0, len(message))[number]
    return message


def test_a_document_has_its_version_and_title():
    packed = pack(DOCUMENT)
    assert (read(packed, 1), read(packed, 2, 1), read(packed, 2, 2)) == (b"2.0", b"T", b"v1")


def test_operations_have_their_parameters_answers_and_extensions():
    path = read(pack(DOCUMENT), 8, 2)
    operation = read(path, 2, 2)
    assert (read(path, 1), read(operation, 5)) == (b"/a", b"readA")
    assert (read(operation, 8, 1, 1, 3), read(operation, 8, 1, 1, 5, 1)) == (b"body", b"#/definitions/A")
    response = read(operation, 9, 1)
    assert (read(response, 1), read(response, 2, 1, 2, 1, 1)) == (b"200", b"#/definitions/A")
    assert (read(operation, 13, 1), read(operation, 13, 2, 2)) == (b"x-kubernetes-action", b'"get"')


def test_a_path_parameter_is_of_its_own_shape():
    document = {"paths": {"/a": {"parameters": [{"name": "n", "in": "path", "required": True, "type": "string"}]}}}
    parameter = read(pack(document), 8, 2, 2, 9, 1, 2, 4)
    assert (read(parameter, 1), read(parameter, 4), read(parameter, 5)) == (1, b"n", b"string")


def test_definitions_have_their_properties_whatever_they_are_called():
    definition = read(pack(DOCUMENT), 9, 1)
    schema = read(definition, 2)
    assert (read(definition, 1), read(schema, 19), read(schema, 22, 1)) == (b"A", b"b", b"object")
    last = read(schema, 25, 1)
    assert (read(last, 1), read(last, 2, 22, 1)) == (b"x-d", b"string")
    assert read(schema, 31, 2, 2) == b'[{"group":"","kind":"A","version":"v1"}]'


def test_lists_and_maps_have_their_items():
    of = {"definitions": {"L": {"items": {"type": "string"}, "additionalProperties": {"minimum": 0.5}}}}
    schema = read(pack(of), 9, 1, 2)
    assert (read(schema, 23, 1, 22, 1), read(schema, 21, 1, 9)) == (b"string", b"\0\0\0\0\0\0\xe0?")
