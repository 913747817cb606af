"""What components of a release say to each other, and whether those of another one still understand it.

The rules are https://protobuf.dev/programming-guides/proto3/#updating with one more: nothing goes, and nothing gets
another name. Who still sends it cannot be known, and reflection shows the names.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

from proto import controllers_pb2, node_pb2, resources_pb2, scheduler_pb2


def current() -> FileDescriptorSet:
    """This checkout's own contracts. etcd's is etcd's."""
    files = []
    for module in (controllers_pb2, node_pb2, resources_pb2, scheduler_pb2):
        file = FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        files.append(file)
    return FileDescriptorSet(file=files)


def breaks(old: FileDescriptorSet, new: FileDescriptorSet) -> list[str]:
    """Why somebody who speaks `old` would be misunderstood by `new`; empty if that cannot be."""
    found = []
    for file, there in _pairs("file", old.file, new.file, found):
        found += _messages(file.package, file.message_type, there.message_type)
        found += _enums(file.package, file.enum_type, there.enum_type)
        found += _services(file.package, file.service, there.service)
    return found


def _pairs(what: str, old: Iterable[Any], new: Iterable[Any], found: list[str]) -> Iterator[tuple[Any, Any]]:
    named = {each.name: each for each in new}
    for each in old:
        if each.name in named:
            yield each, named[each.name]
        else:
            found.append(f"the {what} {each.name} is gone")


def _messages(scope: str, old: Iterable[DescriptorProto], new: Iterable[DescriptorProto]) -> list[str]:
    found: list[str] = []
    for message, there in _pairs(f"message {scope}:", old, new, found):
        name = f"{scope}.{message.name}"
        found += _fields(name, message, there)
        found += _messages(name, message.nested_type, there.nested_type)
        found += _enums(name, message.enum_type, there.enum_type)
    return found


def _fields(name: str, old: DescriptorProto, new: DescriptorProto) -> list[str]:
    now = {field.number: field for field in new.field}
    found = []
    for field in old.field:
        there = now.pop(field.number, None)
        if there is None:
            found.append(f"{name}: field {field.number} ({field.name}) is gone")
        elif (was := _meaning(old, field)) != (is_ := _meaning(new, there)):
            found.append(f"{name}: field {field.number} was {was} and is {is_}")
    given_up = {number for reserved in old.reserved_range for number in range(reserved.start, reserved.end)}
    again = [field for field in now.values() if field.number in given_up]
    return found + [f"{name}: field {f.number} ({f.name}) stands at a number that was given up" for f in again]


def _meaning(message: DescriptorProto, field: FieldDescriptorProto) -> tuple[str, ...]:
    oneof = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else ""
    types, labels = FieldDescriptorProto.Type, FieldDescriptorProto.Label
    return field.name, labels.Name(field.label), types.Name(field.type), field.type_name, oneof


def _enums(scope: str, old: Iterable[EnumDescriptorProto], new: Iterable[EnumDescriptorProto]) -> list[str]:
    found: list[str] = []
    for enum, there in _pairs(f"enum {scope}:", old, new, found):
        for value, now in _pairs(f"value of {scope}.{enum.name}:", enum.value, there.value, found):
            if value.number != now.number:
                found.append(f"{scope}.{enum.name}: {value.name} was {value.number} and is {now.number}")
    return found


def _services(scope: str, old: Iterable[ServiceDescriptorProto], new: Iterable[ServiceDescriptorProto]) -> list[str]:
    found: list[str] = []
    for service, there in _pairs(f"service {scope}:", old, new, found):
        for method, now in _pairs(f"method of {scope}.{service.name}:", service.method, there.method, found):
            for part in ("input_type", "output_type", "client_streaming", "server_streaming"):
                was, is_ = getattr(method, part), getattr(now, part)
                if was != is_:
                    found.append(f"{scope}.{service.name}.{method.name}: {part} was {was} and is {is_}")
    return found
