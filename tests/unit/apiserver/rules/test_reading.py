"""What is sent to subresources: Scale, Eviction, TokenRequest."""

import pytest

from api.errors import BadRequest
from api.types import Eviction, Scale, TokenRequest
from apiserver.requests import parse_delete_options
from apiserver.rules.decoding import read


def test_nulls_are_read_as_nothing():
    document = b'{"metadata": {"name": "a", "creationTimestamp": null}, "spec": {"replicas": 3}, "status": null}'
    scale = read(Scale, document)
    assert (scale.metadata.name, scale.metadata.creationTimestamp, scale.spec.replicas) == ("a", "", 3)


def test_a_token_request_of_an_old_client():
    document = b'{"metadata":{"creationTimestamp":null},"spec":{"audiences":null,"expirationSeconds":600},"status":{"token":"","expirationTimestamp":null}}'
    assert read(TokenRequest, document).spec.expirationSeconds == 600


@pytest.mark.parametrize("document", [b"", b"[]", b'{"metadata": 1}', b"{", b"\xff"])
def test_what_is_no_such_object_is_refused(document):
    with pytest.raises(BadRequest, match=r'Eviction in version "v1" cannot be handled as a Eviction: .'):
        read(Eviction, document)


@pytest.mark.parametrize(
    ("document", "said"), [(b"{", "unexpected end of JSON input"), (b'{"a":' * 20_000, "exceeded max depth")]
)
def test_what_is_no_json_is_told_in_gos_words(document, said):
    with pytest.raises(BadRequest, match=f": {said}$"):
        read(Eviction, document)
    with pytest.raises(BadRequest, match=f"unable to decode DeleteOptions: {said}$"):
        parse_delete_options(document)
