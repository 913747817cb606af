"""Certificate signing requests: approved for kubelets, signed for whom it may, forgotten in time."""

import base64
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from api import kinds, times
from api.meta import Key
from api.types import (
    CertificateSigningRequest,
    CertificateSigningRequestCondition,
    CertificateSigningRequestSpec,
    CertificateSigningRequestStatus,
    ObjectMeta,
)
from controller_manager import certificate_approving, certificate_cleaning, certificates
from controller_manager.certificates import Refused
from machinery.certificates import Authority
from machinery.testing import FakeClock
from tests.unit.controller_manager.worlds import World, controllers, rest

AUTHORITY = Authority.create("test", datetime(2023, 1, 1, tzinfo=UTC))
KEY = ec.generate_private_key(ec.SECP256R1())
CLIENT_USAGES = ["digital signature", "client auth"]
SIGNING = "certificatesigningrequest-signing-controller"


def pem(name: str, groups: tuple[str, ...] = (), hosts: tuple[str | x509.GeneralName, ...] = ()) -> str:
    """A host that is text is a DNS name."""
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, g) for g in groups]
    subject = x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if hosts:
        names = [x509.DNSName(h) if isinstance(h, str) else h for h in hosts]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    made = builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return base64.b64encode(made).decode()


def approved() -> CertificateSigningRequestCondition:
    return CertificateSigningRequestCondition(type="Approved", status="True", lastUpdateTime="2023-11-14T22:13:20Z")


def request(signer: str = certificates.CLIENT, *, decided: bool = True, **spec: Any) -> CertificateSigningRequest:
    wanted = {"request": pem("jane", ("team",)), "signerName": signer, "usages": CLIENT_USAGES, "username": "jane"}
    status = CertificateSigningRequestStatus(conditions=[approved()] if decided else [])
    return CertificateSigningRequest(
        metadata=ObjectMeta(name="csr"), spec=CertificateSigningRequestSpec(**(wanted | spec)), status=status
    )


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "ca.crt").write_bytes(AUTHORITY.pair.certificate)
    (tmp_path / "ca.key").write_bytes(AUTHORITY.pair.key)
    files = {"signing_certificate": tmp_path / "ca.crt", "signing_key": tmp_path / "ca.key"}
    return {**files, "signing_seconds": 86400.0}


async def signed(world: World, config: dict[str, Any], wanted: CertificateSigningRequest) -> CertificateSigningRequest:
    await world.create(wanted)
    async with controllers(world, SIGNING, **config):
        await rest(30)
        found: CertificateSigningRequest = await world.get(CertificateSigningRequest, "csr")
        return found


async def test_an_approved_request_gets_a_certificate_of_the_authority(world: World, config: dict[str, Any]) -> None:
    found = await signed(world, config, request(expirationSeconds=3600))
    issued = x509.load_pem_x509_certificate(base64.b64decode(found.status.certificate))
    issued.verify_directly_issued_by(x509.load_pem_x509_certificate(AUTHORITY.pair.certificate))
    assert issued.subject.rfc4514_string() == "CN=jane,O=team"
    assert (issued.not_valid_after_utc - issued.not_valid_before_utc).total_seconds() == 3600 + 300
    purposes = issued.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [x509.ExtendedKeyUsageOID.CLIENT_AUTH]
    use = issued.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (use.digital_signature, use.key_encipherment, use.key_cert_sign) == (True, False, False)


async def test_nothing_lasts_longer_than_the_authority_lets_it(world: World, config: dict[str, Any]) -> None:
    found = await signed(world, config, request(expirationSeconds=10**8))
    issued = x509.load_pem_x509_certificate(base64.b64decode(found.status.certificate))
    assert (issued.not_valid_after_utc - issued.not_valid_before_utc).total_seconds() == 86400


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"usages": ["client auth", "server auth"]}, "invalid usage for client certificate: server auth"),
        ({"usages": ["digital signature"]}, "missing required usage for client certificate: client auth"),
        ({"signer": certificates.KUBELET_CLIENT}, "subject organization is not system:nodes"),
        (
            {"signer": certificates.KUBELET_CLIENT, "request": pem("x", ("system:nodes",))},
            "subject common name does not begin with system:node:",
        ),
        (
            {"signer": certificates.KUBELET_SERVING, "request": pem("system:node:x", ("system:nodes",))},
            "DNS or IP subjectAltName is required",
        ),
        ({"request": base64.b64encode(b"nonsense").decode()}, "unable to parse csr"),
    ],
)
async def test_what_the_signer_does_not_sign_has_failed(
    world: World, config: dict[str, Any], changes: Any, message: str
) -> None:
    found = await signed(world, config, request(**changes))
    failed = found.status.conditions[-1]
    assert (failed.type, failed.reason, found.status.certificate) == ("Failed", "SignerValidationFailure", "")
    assert message in failed.message


async def test_others_signers_and_undecided_requests_are_left_alone(world: World, config: dict[str, Any]) -> None:
    found = await signed(world, config, request("example.com/own"))
    assert not found.status.certificate
    world.objects.clear()
    found = await signed(world, config, request(decided=False))
    assert not found.status.certificate


NODE = ("system:node:x", ("system:nodes",))
EMAIL, URI, IP = x509.RFC822Name("a@b.c"), x509.UniformResourceIdentifier("a:b"), x509.IPAddress(ip_address("::1"))
ELSE = x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))
SERVING_USAGES = ["digital signature", "key encipherment", "server auth"]


@pytest.mark.parametrize(
    ("signer", "hosts", "usages", "why"),
    [
        (certificates.KUBELET_SERVING, ("x", IP, ELSE), SERVING_USAGES, ""),
        (certificates.KUBELET_SERVING, (IP,), SERVING_USAGES[::2], ""),
        (certificates.KUBELET_SERVING, (EMAIL,), SERVING_USAGES, "DNS or IP subjectAltName is required"),
        (certificates.KUBELET_SERVING, ("x", EMAIL), SERVING_USAGES, "Email subjectAltNames are not allowed"),
        (certificates.KUBELET_SERVING, (IP, URI), SERVING_USAGES, "URI subjectAltNames are not allowed"),
        (
            certificates.KUBELET_SERVING, ("x",), CLIENT_USAGES,
            "usages did not match [digital signature key encipherment server auth]",
        ),
        (certificates.KUBELET_CLIENT, (), CLIENT_USAGES, ""),
        (certificates.KUBELET_CLIENT, ("x", EMAIL, IP, URI), CLIENT_USAGES, "DNS subjectAltNames are not allowed"),
        (certificates.KUBELET_CLIENT, (IP, EMAIL), CLIENT_USAGES, "Email subjectAltNames are not allowed"),
        (certificates.KUBELET_CLIENT, (URI, IP), CLIENT_USAGES, "IP subjectAltNames are not allowed"),
        (certificates.KUBELET_CLIENT, (URI,), CLIENT_USAGES, "URI subjectAltNames are not allowed"),
        (
            certificates.KUBELET_CLIENT, (), SERVING_USAGES,
            "usages did not match [client auth digital signature key encipherment]",
        ),
    ],
)  # fmt: skip
def test_what_a_kubelet_may_ask_for(signer: str, hosts: Any, usages: list[str], why: str) -> None:
    wanted = request(signer, request=pem(*NODE, hosts), usages=usages)
    if not why:
        certificates.check(wanted, certificates.parse(wanted))
        return
    with pytest.raises(Refused) as refused:
        certificates.check(wanted, certificates.parse(wanted))
    assert str(refused.value) == why


async def test_names_of_forms_that_signers_do_not_know_are_left_out(world: World, config: dict[str, Any]) -> None:
    found = await signed(world, config, request(request=pem("jane", (), ("x", ELSE, IP))))
    issued = x509.load_pem_x509_certificate(base64.b64decode(found.status.certificate))
    names = issued.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.DNSName("x"), IP]


def test_kubelets_are_recognized_by_what_they_ask_for() -> None:
    kubelet = request(
        certificates.KUBELET_CLIENT, decided=False, request=pem("system:node:n1", ("system:nodes",)), username="boot"
    )
    assert [right for right, _ in certificate_approving.recognized(kubelet)] == ["nodeclient"]
    kubelet.spec.username = "system:node:n1"
    assert [right for right, _ in certificate_approving.recognized(kubelet)] == ["selfnodeclient", "nodeclient"]
    kubelet.spec.usages = ["server auth"]
    assert certificate_approving.recognized(kubelet) == []


def test_a_request_is_forgotten_a_day_after_it_came_or_an_hour_after_it_was_decided(clock: FakeClock) -> None:
    born = "2023-11-14T22:13:20Z"
    pending = request(decided=False)
    pending.metadata.creationTimestamp = born
    assert certificate_cleaning.ends(pending) - times.parse(born) == 86400
    denied = request()
    denied.metadata.creationTimestamp = born
    denied.status.conditions[0].type = "Denied"
    assert certificate_cleaning.ends(denied) - times.parse(born) == 3600
    waiting = request()
    waiting.metadata.creationTimestamp = born
    assert certificate_cleaning.ends(waiting) - times.parse(born) == 86400


async def test_the_cleaner_deletes_in_time(world: World, clock: FakeClock) -> None:
    await world.create(request(decided=False))
    found = world.objects[kinds.of(CertificateSigningRequest)]
    async with controllers(world, certificate_cleaning.NAME) as term:
        for seconds, left in ((86000, 1), (500, 0)):
            await clock.advance(seconds)
            assert not await term.controllers[0].reconcile_now(Key("", "csr"))
            await rest(30)
            assert len(found) == left
