"""Documents that say every field of a message, and what kubectl sent for some commands."""

import base64

from apiserver.wire.messages import table

VALUES = {
    "string": "ü", "bytes": base64.b64encode(b"\x00\xff").decode(), "int": -7, "bool": True, "double": 1.5,
    "time": "2023-11-14T22:13:20Z", "micro": "2023-11-14T22:13:20.000005Z", "duration": "1.5s", "quantity": "100m", "intorstring": "25%",
    "strings": ["x", "y"], "raw": {"f:a": {".": {}}, "n": [1, 2.5, None, "s"]},
}  # fmt: skip
SCHEMA = {"type": "object"}
CHOICES = {
    "JSONSchemaProps": SCHEMA,
    "JSONSchemaPropsOrArray": [SCHEMA, {"type": "string"}],
    "JSONSchemaPropsOrBool": False,
    "JSONSchemaPropsOrStringArray": ["a"],
}


def filled(message: str, within: tuple[str, ...] = ()) -> dict:
    """A JSON value with every field of a message, and of the messages in it, unless they contain themselves."""
    found = {}
    for field in table().fields[message]:
        if field.type in (*within, message):
            continue
        value = VALUES.get(field.type) or CHOICES.get(field.type, ...)
        value = filled(field.type, (*within, message)) if value is ... else value
        if field.name == "^":
            found |= value
        elif value != {} or field.always or field.many:
            found[field.name] = [value, value] if field.many == "*" else {"k": value} if field.many == "%" else value
    return found


# kubectl create deployment web9 --image=nginx --replicas=3 --port 80
DEPLOYMENT = base64.b64decode(
    "azhzAAoVCgdhcHBzL3YxEgpEZXBsb3ltZW50ErwBCiEKBHdlYjkSABoAIgAqADIAOABCAFoLCgNhcHASBHdlYjkSiAEIAxINCgsKA2FwcBIEd2"
    "ViORptCh0KABIAGgAiACoAMgA4AEIAWgsKA2FwcBIEd2ViORJMEi4KBW5naW54EgVuZ2lueCoAMgoKABAAGFAiACoAQgBqAHIAgAEAiAEAkAEA"
    "ogEAGgAyAEIASgBSAFgAYABoAIIBAIoBAJoBAMIBACICCgAoADgAGgwIABAAGAAgACgAOAAaACIA"
)
