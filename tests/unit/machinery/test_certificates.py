import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from machinery.certificates import LIFETIME, Authority, Subject
from machinery.pairs import Pair

NODE = Subject("system:node:node1", ("system:nodes",), ("node1", "10.123.0.101", "localhost", "127.0.0.1"))


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create("test")


def context(purpose: ssl.Purpose, pair: Pair, authority: Authority, place: Path) -> ssl.SSLContext:
    made = ssl.create_default_context(purpose, cadata=authority.pair.certificate.decode())
    made.verify_mode = ssl.CERT_REQUIRED
    (place / "crt").write_bytes(pair.certificate)
    (place / "key").write_bytes(pair.key)
    made.load_cert_chain(place / "crt", place / "key")
    return made


def test_one_pair_serves_and_calls_and_tells_user_and_group(authority: Authority, tmp_path: Path) -> None:
    pair = authority.issue(NODE)
    serving = context(ssl.Purpose.CLIENT_AUTH, pair, authority, tmp_path)
    calling = context(ssl.Purpose.SERVER_AUTH, pair, authority, tmp_path)
    peers = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with serving.wrap_socket(listener.accept()[0], server_side=True) as connection:
                peers.append(connection.getpeercert())
                connection.sendall(b"well")

        thread = threading.Thread(target=serve)
        thread.start()
        with calling.wrap_socket(socket.create_connection(listener.getsockname()), server_hostname="127.0.0.1") as it:
            assert it.recv(4) == b"well"
        thread.join()
    assert peers[0]["subject"] == ((("organizationName", "system:nodes"),), (("commonName", "system:node:node1"),))


def test_a_certificate_names_hosts_and_addresses_and_both_uses(authority: Authority) -> None:
    made = x509.load_pem_x509_certificate(authority.issue(NODE).certificate)
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["node1", "localhost"]
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["10.123.0.101", "127.0.0.1"]
    uses = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(uses) == [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]


def test_a_stored_authority_issues_what_the_first_one_would_have(authority: Authority) -> None:
    again = Authority(authority.pair)
    assert authority.still_serves(again.issue(NODE).certificate, NODE)


def test_several_groups_are_several_organizations(authority: Authority) -> None:
    made = x509.load_pem_x509_certificate(authority.issue(Subject("u", ("a", "b"))).certificate)
    assert [o.value for o in made.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)] == ["a", "b"]


@pytest.mark.parametrize(
    "asked",
    [
        Subject(NODE.user, NODE.groups, (*NODE.hosts, "another")),
        Subject(NODE.user, ("system:masters",), NODE.hosts),
        Subject("system:node:node2", NODE.groups, NODE.hosts),
    ],
    ids=["a host is missing", "other groups", "another user"],
)
def test_a_certificate_that_says_less_than_asked_does_not_serve(authority: Authority, asked: Subject) -> None:
    assert not authority.still_serves(authority.issue(NODE).certificate, asked)


def test_a_certificate_that_says_more_than_asked_still_serves(authority: Authority) -> None:
    fewer = Subject(NODE.user, NODE.groups, NODE.hosts[:1])
    assert authority.still_serves(authority.issue(NODE).certificate, fewer)


def test_a_certificate_near_its_end_does_not_serve(authority: Authority) -> None:
    late = datetime.now(UTC) + LIFETIME - timedelta(days=10)
    assert not authority.still_serves(authority.issue(NODE).certificate, NODE, now=late)


def test_a_certificate_of_another_authority_does_not_serve(authority: Authority) -> None:
    stranger = Authority.create("test")
    assert not authority.still_serves(stranger.issue(NODE).certificate, NODE)


def test_garbage_does_not_serve(authority: Authority) -> None:
    assert not authority.still_serves(b"nothing like it", NODE)


def test_a_key_stays_out_of_what_is_printed(authority: Authority) -> None:
    assert "PRIVATE" not in repr(authority.pair)
