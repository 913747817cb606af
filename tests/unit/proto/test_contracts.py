"""Components of one release understand those of the releases before it: `proto/` only grows."""

from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet

from tests.releases import KEPT
from tests.releases.contracts import breaks, current
from tests.releases.keeping import CONTRACTS

RELEASES = sorted(KEPT.glob(f"*/{CONTRACTS}"))


def test_a_release_is_kept() -> None:
    assert RELEASES


@pytest.mark.parametrize("kept", RELEASES, ids=lambda path: path.parent.name)
def test_whoever_speaks_a_kept_release_is_understood(kept: Path) -> None:
    old = FileDescriptorSet.FromString(kept.read_bytes())
    assert {service.name for file in old.file for service in file.service} >= {"Resources", "Node", "Scheduler"}
    assert breaks(old, current()) == []


def changed(change: str) -> list[str]:
    """What is said when the contract of the API server is changed so, by replacing in its text form."""
    new = current()
    file = next(f for f in new.file if f.name.endswith("resources.proto"))
    message = {m.name: m for m in file.message_type}
    match change:
        case "nothing":
            pass
        case "a field more":
            message["GetRequest"].field.add(name="more", number=3, type=FieldDescriptorProto.TYPE_BOOL, label=1)
        case "a message and a method more":
            file.message_type.add(name="More")
            file.service[0].method.add(name="More", input_type=".wherry.v1.More", output_type=".wherry.v1.More")
        case "renumbered":
            message["GetRequest"].field[1].number = 3
        case "removed":
            del message["GetRequest"].field[1]
        case "another type":
            message["ListRequest"].field[5].type = FieldDescriptorProto.TYPE_SINT64
        case "renamed":
            message["GetRequest"].field[1].name = "revision"
        case "repeated":
            message["Object"].field[0].label = FieldDescriptorProto.LABEL_REPEATED
        case "out of its oneof":
            message["Operation"].field[1].ClearField("oneof_index")
        case "message removed":
            file.message_type.remove(message["Outcome"])
        case "enum renumbered":
            message["WatchEvent"].enum_type[0].value[1].number = 9
        case "method unary":
            file.service[0].method[2].server_streaming = False
        case "method removed":
            del file.service[0].method[2]
        case "file removed":
            new.file.remove(file)
    return breaks(current(), new)


@pytest.mark.parametrize("change", ["nothing", "a field more", "a message and a method more"])
def test_a_contract_may_grow(change: str) -> None:
    assert changed(change) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("renumbered", "wherry.v1.GetRequest: field 2 (resource_version) is gone"),
        ("removed", "wherry.v1.GetRequest: field 2 (resource_version) is gone"),
        ("another type", "wherry.v1.ListRequest: field 6 was"),
        ("renamed", "wherry.v1.GetRequest: field 2 was ('resource_version', "),
        ("repeated", "wherry.v1.Object: field 1 was"),
        ("out of its oneof", "wherry.v1.Operation: field 2 was"),
        ("message removed", "the message wherry.v1: Outcome is gone"),
        ("enum renumbered", "wherry.v1.WatchEvent.Type: ADDED was 1 and is 9"),
        ("method unary", "wherry.v1.Resources.Watch: server_streaming was True and is False"),
        ("method removed", "the method of wherry.v1.Resources: Watch is gone"),
        ("file removed", "the file proto/resources.proto is gone"),
    ],
)
def test_a_contract_takes_nothing_back(change: str, told: str) -> None:
    assert [said for said in changed(change) if said.startswith(told)] == changed(change)[:1]


def test_a_number_that_was_given_up_stays_unused() -> None:
    old = FileDescriptorProto(name="f", package="p")
    old.message_type.add(name="M").reserved_range.add(start=2, end=3)
    new = FileDescriptorProto(name="f", package="p")
    new.message_type.add(name="M").field.add(name="again", number=2, type=FieldDescriptorProto.TYPE_BOOL, label=1)
    told = breaks(FileDescriptorSet(file=[old]), FileDescriptorSet(file=[new]))
    assert told == ["p.M: field 2 (again) stands at a number that was given up"]
