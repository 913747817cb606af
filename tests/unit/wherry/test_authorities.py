"""Authorities and keys of a lab are replaced step by step."""

import ssl
from pathlib import Path

import pytest
from cryptography import x509

from machinery import kubeconfigs
from machinery.certificates import public_half
from wherry import authorities, certificates

NODES = ["node1"]


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    certificates.write(tmp_path, NODES)
    return tmp_path


def issuers(pki: Path) -> dict[str, x509.Name]:
    return {h.name: certificate(pki, h).issuer for h in certificates.holdings(NODES)}


def certificate(pki: Path, holding: certificates.Holding) -> x509.Certificate:
    pair = certificates.held(pki, holding)
    assert pair is not None
    return x509.load_pem_x509_certificate(pair.certificate)


def believed(pki: Path, holding: certificates.Holding, trusted: bytes) -> bool:
    for each in x509.load_pem_x509_certificates(trusted):
        try:
            certificate(pki, holding).verify_directly_issued_by(each)
        except ValueError:
            continue
        return True
    return False


@pytest.mark.parametrize("name", certificates.AUTHORITIES)
def test_at_every_step_everybody_believes_what_was_issued_before_and_after(pki: Path, name: str) -> None:
    concerned = [h for h in certificates.holdings(NODES) if h.authority == name]
    trusts = [(pki / h.directory / h.trusted).read_bytes() for h in concerned]
    before = issuers(pki)
    for step in (authorities.begin, authorities.switch):
        step(pki, name)
        certificates.write(pki, NODES)
        for holding in concerned:
            now = (pki / holding.directory / holding.trusted).read_bytes()
            # Who reads the files a step later, and who reads them a step earlier than the others.
            assert believed(pki, holding, now)
            assert step is authorities.switch or all(believed(pki, holding, trusted) for trusted in trusts)
        trusts = [(pki / h.directory / h.trusted).read_bytes() for h in concerned]
        assert all(believed(pki, holding, trusted) for holding in concerned for trusted in trusts)
    after = issuers(pki)
    assert {h.name for h in concerned} == {name for name in after if after[name] != before[name]}
    assert authorities.forget(pki, name)
    certificates.write(pki, NODES)
    for holding in concerned:
        trusted = (pki / holding.directory / holding.trusted).read_bytes()
        assert len(x509.load_pem_x509_certificates(trusted)) == 1
        assert believed(pki, holding, trusted)
    assert not authorities.forget(pki, name)


def test_a_roll_over_that_was_broken_off_goes_on_with_the_same_authority(pki: Path) -> None:
    authorities.begin(pki, "ca")
    begun = (pki / "ca" / "ca.crt").read_bytes()
    authorities.begin(pki, "ca")
    assert (pki / "ca" / "ca.crt").read_bytes() == begun
    authorities.switch(pki, "ca")  # and the next run finds no more than this
    assert "scheduler" in certificates.write(pki, NODES)
    assert certificates.write(pki, NODES) == []


def test_the_controller_manager_signs_with_the_certificate_that_stands_first(pki: Path) -> None:
    authorities.begin(pki, "ca")
    authorities.switch(pki, "ca")
    certificates.write(pki, NODES)
    own = pki / "controller-manager"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own / "ca.crt", own / "ca.key")  # raises if they do not belong together
    assert len(x509.load_pem_x509_certificates((own / "ca.crt").read_bytes())) == 2


def test_what_is_renewed_by_name_is_another_certificate_of_the_same_authority(pki: Path) -> None:
    before = {h.name: certificate(pki, h).serial_number for h in certificates.holdings(NODES)}
    assert certificates.write(pki, NODES, renew=["scheduler", "etcd-client"]) == ["etcd-client", "scheduler"]
    after = {h.name: certificate(pki, h).serial_number for h in certificates.holdings(NODES)}
    assert {name for name in after if after[name] != before[name]} == {"scheduler", "etcd-client"}
    access = kubeconfigs.load(pki / "scheduler" / "kubeconfig")
    assert access.certificate == (pki / "scheduler" / "tls.crt").read_bytes()


def test_of_account_keys_the_newest_signs_and_the_others_verify_until_they_are_forgotten(pki: Path) -> None:
    place = pki / "apiserver"
    first = (place / "sa.pub").read_bytes()
    certificates.renew_account_keys(place)
    own = public_half((place / "sa.key").read_bytes())
    assert (place / "sa.pub").read_bytes() == own + first
    certificates.forget_account_keys(place)
    assert (place / "sa.pub").read_bytes() == own
    assert (place / "sa.key").stat().st_mode & 0o777 == 0o600
