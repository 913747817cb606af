import pytest

from api.errors import NotAcceptable
from apiserver.rest.negotiation import representation

KUBECTL = (
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
)


def chosen(accept, *turns):
    found = representation(accept, turns)
    return found.media, found.as_


@pytest.mark.parametrize("accept", ["", "*/*", "application/*", "application/json", "application/json; charset=utf-8"])
def test_json_is_what_one_gets_for_nothing_special(accept):
    assert chosen(accept) == ("application/json", "")


def test_a_table_comes_where_there_are_tables():
    assert chosen(KUBECTL, "Table") == ("application/json", "Table")
    assert chosen(KUBECTL) == ("application/json", "")


def test_quality_decides():
    assert chosen("application/json;q=0.5, application/yaml;q=0.9")[0] == "application/yaml"
    assert chosen("application/yaml;q=0, */*;q=0.1")[0] == "application/json"


def test_protobuf_comes_where_it_is_preferred_but_never_for_a_table():
    protobuf = "application/vnd.kubernetes.protobuf"
    assert chosen(f"{protobuf},application/json") == (protobuf, "")
    assert chosen(f"application/json,{protobuf}") == ("application/json", "")
    assert chosen(f"{protobuf};as=Table;g=meta.k8s.io;v=v1,{KUBECTL}", "Table") == ("application/json", "Table")
    partial = f"{protobuf};as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    assert chosen(partial, "PartialObjectMetadata") == (protobuf, "PartialObjectMetadata")


def test_what_has_no_form_in_protobuf_comes_as_what_is_acceptable_next():
    protobuf = "application/vnd.kubernetes.protobuf"
    assert representation(f"{protobuf},application/json", binary=False).media == "application/json"
    partial = f"{protobuf};as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    assert representation(partial, ("PartialObjectMetadata",), binary=False).media == protobuf
    with pytest.raises(NotAcceptable):
        representation(protobuf, binary=False)


@pytest.mark.parametrize("accept", ["application/cbor", "text/html", "application/json;as=Table"])
def test_what_is_not_served_is_not_acceptable(accept):
    with pytest.raises(NotAcceptable, match="only the following media types are accepted: application/json, "):
        representation(accept)
