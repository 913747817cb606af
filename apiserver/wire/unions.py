"""Messages that stand for a choice which JSON shows by its type: the three of a custom resource's schema."""

from collections.abc import Callable
from typing import Any

Message = dict[str, Any]


def _or_array(message: Message) -> Any:
    return message["schemas"] if "schemas" in message else message.get("schema")


def _or_bool(message: Message) -> Any:
    return message.get("schema", message.get("allows", False))


def _or_strings(message: Message) -> Any:
    return message["property"] if "property" in message else message.get("schema")


def _say_or_array(value: Any) -> Message:
    return {"schemas": value} if isinstance(value, list) else {"schema": value}


def _say_or_bool(value: Any) -> Message:
    return {"allows": value} if isinstance(value, bool) else {"allows": True, "schema": value}


def _say_or_strings(value: Any) -> Message:
    return {"property": value} if isinstance(value, list) else {"schema": value}


FROM: dict[str, Callable[[Message], Any]] = {
    "JSONSchemaPropsOrArray": _or_array,
    "JSONSchemaPropsOrBool": _or_bool,
    "JSONSchemaPropsOrStringArray": _or_strings,
}
TO: dict[str, Callable[[Any], Message]] = {
    "JSONSchemaPropsOrArray": _say_or_array,
    "JSONSchemaPropsOrBool": _say_or_bool,
    "JSONSchemaPropsOrStringArray": _say_or_strings,
}
