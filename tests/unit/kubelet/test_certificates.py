"""The kubelet's own certificates: when they are asked for, what comes of it, and what is told of that."""

import asyncio
import base64
import logging
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from api import errors
from api.types import CertificateSigningRequest, CertificateSigningRequestCondition, NodeAddress
from kubelet.certificates import asking, counting, subjects
from kubelet.certificates.bootstrapping import prepare
from kubelet.certificates.rotating import Rotation
from kubelet.certificates.stores import Store
from kubelet.config import parse
from machinery import certificates, kubeconfigs
from machinery.certificates import Subject
from machinery.kubeconfigs import Access
from machinery.metrics import Exposition
from machinery.running import CannotGoOn
from machinery.testing import FakeClock, settle
from tests.unit.controller_manager.worlds import World

NODE = subjects.of_client("n1")
LIFE = 1000.0
KIND = "CertificateSigningRequest"
FLAGS = ("--kubeconfig", "k", "--hostname-override", "n1", "--node-ip", "10.0.0.1")
ISSUER = ec.generate_private_key(ec.SECP256R1())


def certificate(request: bytes, begins: float, seconds: float = LIFE) -> bytes:
    asked = x509.load_pem_x509_csr(request)
    born = datetime.fromtimestamp(begins, UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(asked.subject).issuer_name(asked.subject).public_key(asked.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(born).not_valid_after(born + timedelta(seconds=seconds))
    )  # fmt: skip
    for extension in asked.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(ISSUER, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


class Stage:
    """A rotation with its server, and an administrator who decides there."""

    def __init__(self, directory: Path) -> None:
        self.clock = FakeClock()
        self.world = World(self.clock)
        self.store = Store(directory / "kubelet-client-current.pem")
        self.wanted: Subject | None = NODE
        self.drawn = 0.0

    def hold(self, subject: Subject = NODE, seconds: float = LIFE) -> x509.Certificate:
        """It has just been issued."""
        key = certificates.new_key()
        return self.store.keep(certificate(certificates.request(subject, key), self.clock.now(), seconds), key)

    @asynccontextmanager
    async def rotating(
        self, signer: asking.Signer = asking.CLIENT, bootstrap: Path | None = None
    ) -> AsyncIterator[Rotation]:
        client: Any = self.world
        made = Rotation(
            client, signer, self.store, lambda: self.wanted, self.clock, bootstrap=bootstrap, draw=lambda: self.drawn
        )
        running = asyncio.create_task(made.run())
        await settle()
        yield made
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    @property
    def asked(self) -> list[CertificateSigningRequest]:
        return sorted(self.world.all(CertificateSigningRequest), key=lambda r: int(r.metadata.uid.partition("-")[2]))

    async def issue(self, seconds: float = LIFE, issued: bytes = b"") -> bytes:
        """For the last request."""
        request = self.asked[-1]
        issued = issued or certificate(base64.b64decode(request.spec.request), self.clock.now(), seconds)
        await self.decide("Approved", base64.b64encode(issued).decode())
        return issued

    async def decide(self, decision: str, issued: str = "") -> None:
        request = self.asked[-1]
        condition = CertificateSigningRequestCondition(type=decision, status="True", reason="R", message="M")
        request.status.conditions.append(condition)
        request.status.certificate = issued
        await self.world.update_status(request)
        await settle()


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path / "pki")


@pytest.mark.parametrize(("drawn", "part"), [(0.0, 0.7), (0.5, 0.8), (1.0, 0.9)])
async def test_another_is_asked_for_when_most_of_its_life_is_over(stage: Stage, drawn: float, part: float) -> None:
    stage.hold()
    stage.drawn = drawn
    async with stage.rotating():
        await stage.clock.advance(part * LIFE - 1)
        assert stage.asked == []
        await stage.clock.advance(1.01)
        assert len(stage.asked) == 1


async def test_it_asks_in_the_nodes_name_and_keeps_what_it_gets_to_itself(stage: Stage) -> None:
    async with stage.rotating() as rotation:
        [request] = stage.asked
        assert request.metadata.name.startswith("csr-")
        assert request.spec.signerName == "kubernetes.io/kube-apiserver-client-kubelet"
        assert request.spec.usages == ["digital signature", "client auth"]
        asked = base64.b64decode(request.spec.request)
        assert x509.load_pem_x509_csr(asked).subject.rfc4514_string() == "CN=system:node:n1,O=system:nodes"
        assert b"PRIVATE" not in asked
        assert (rotation.certificate, stage.store.path.exists()) == (None, False)
        issued = await stage.issue()
        await asyncio.wait_for(rotation.there(), 1)
        assert rotation.certificate == stage.store.current() == x509.load_pem_x509_certificate(issued)
        assert stat.S_IMODE(stage.store.path.stat().st_mode) == 0o600
        assert [each.name for each in stage.store.path.parent.iterdir()] == [stage.store.path.name]
        await stage.clock.advance(0.7 * LIFE - 1)
        assert len(stage.asked) == 1
        await stage.clock.advance(1.01)
        assert len(stage.asked) == 2
        assert stage.asked[0].spec.request != stage.asked[1].spec.request
        assert stage.store.current() == rotation.certificate  # until there is another one


async def test_who_has_a_certificate_of_another_name_asks_at_once(stage: Stage) -> None:
    stage.hold(Subject("kubernetes-admin", ("system:masters", "system:nodes")))
    async with stage.rotating():
        assert len(stage.asked) == 1


async def test_more_than_what_is_wanted_is_good_enough(stage: Stage) -> None:
    stage.hold(Subject(NODE.user, ("system:nodes", "others"), ("a", "10.0.0.1")))
    async with stage.rotating():
        stage.wanted = Subject(NODE.user, ("system:nodes",), ("10.0.0.1",))
        await stage.clock.advance(1)
        assert stage.asked == []


async def test_what_fails_is_tried_again_later_and_later(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:  # fmt: skip
    stage.world.refuse("create", KIND, errors.Unavailable("away"))
    async with stage.rotating() as rotation:
        for pause, count in ((0, 1), (2, 2), (4, 3), (8, 4), (16, 5), (32, 6), (32, 7)):
            if pause:
                await stage.clock.advance(pause - 0.1)
                assert rotation.failures == count - 1
                await stage.clock.advance(0.1)
            assert rotation.failures == count
        assert "Reached backoff limit, still unable to rotate certs" in caplog.text
        stage.world.refusals.clear()
        await stage.clock.advance(32)
        await stage.issue()
        assert (rotation.failures, rotation.certificate) == (7, stage.store.current())


@pytest.mark.parametrize(
    ("decision", "why"),
    [
        ("Denied", "certificate signing request is denied, reason: R, message: M"),
        ("Failed", "certificate signing request failed, reason: R, message: M"),
    ],
)
async def test_what_is_not_granted_is_asked_for_again(
    stage: Stage, caplog: pytest.LogCaptureFixture, decision: str, why: str
) -> None:
    async with stage.rotating() as rotation:
        await stage.decide(decision)
        assert (rotation.failures, len(stage.asked)) == (1, 1)
        assert why in caplog.text
        await stage.clock.advance(2)
        assert len(stage.asked) == 2


async def test_a_request_that_somebody_deletes_is_made_again(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    async with stage.rotating():
        [request] = stage.asked
        await stage.world.delete(CertificateSigningRequest, request.metadata.name)
        await settle()
        assert f'csr "{request.metadata.name}" was deleted' in caplog.text
        await stage.clock.advance(2)
        assert [each.metadata.uid for each in stage.asked] != [request.metadata.uid]


async def test_nobody_waits_longer_than_a_quarter_of_an_hour(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    async with stage.rotating() as rotation:
        await stage.decide("Approved")
        await stage.clock.advance(15 * 60 - 1)
        assert (rotation.failures, len(stage.asked)) == (0, 1)
        await stage.clock.advance(1)
        assert (rotation.failures, len(stage.asked)) == (1, 1)
        assert "timed out waiting for the condition" in caplog.text
        await stage.clock.advance(2)
        assert len(stage.asked) == 2


async def test_a_certificate_of_another_key_is_not_taken(stage: Stage) -> None:
    held = stage.hold()
    async with stage.rotating() as rotation:
        await stage.clock.advance(0.7 * LIFE)
        key = certificates.new_key()
        await stage.issue(issued=certificate(certificates.request(NODE, key), stage.clock.now()))
        assert (rotation.failures, stage.store.current()) == (1, held)
        await stage.clock.advance(2)
        await stage.issue()
        assert stage.store.current() != held


async def test_what_has_expired_is_shown_no_more(stage: Stage) -> None:
    stage.hold()
    async with stage.rotating() as rotation:
        await stage.clock.advance(0.7 * LIFE)
        stage.world.refuse("create", KIND, errors.Unavailable("away"))
        assert len(stage.asked) == 1
        await stage.clock.advance(15 * 60)
        await stage.clock.advance(2)
        assert (rotation.certificate, stage.store.path.exists()) == (None, False)


async def test_what_expired_while_nobody_ran_is_given_up_at_the_start(stage: Stage) -> None:
    flags = ["--rotate-certificates", "--cert-dir", str(stage.store.path.parent)]
    stage.hold()
    for lives, is_there in ((LIFE - 1, True), (1, False)):
        await stage.clock.advance(lives)
        await prepare(parse([*FLAGS, *flags]), stage.clock)
        assert stage.store.path.exists() == is_there


async def test_the_bootstrap_kubeconfig_asks_while_there_is_no_certificate(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:  # fmt: skip
    missing = stage.store.path.with_name("bootstrap.kubeconfig")
    async with stage.rotating(bootstrap=missing) as rotation:
        assert (rotation.failures, stage.asked) == (1, [])
        assert f"No such file or directory: '{missing}'" in caplog.text
    stage.hold()
    async with stage.rotating(bootstrap=missing):
        await stage.clock.advance(0.7 * LIFE)
        assert len(stage.asked) == 1


async def test_what_the_bootstrap_kubeconfig_does_not_get_is_told_plainly(tmp_path: Path) -> None:
    """And not in a group of exceptions, which nobody would catch."""
    file = tmp_path / "kubeconfig"
    file.write_text(kubeconfigs.dump(Access("https://127.0.0.1:1", b"", b"", b""), "test", "stranger"))
    with pytest.raises(asking.NotIssued, match="no"):
        async with asking.stranger(file):
            raise asking.NotIssued("no")


async def test_certificates_that_last_no_time_are_asked_for_once_a_second(stage: Stage) -> None:
    async with stage.rotating():
        for count in (1, 2, 3):
            assert len(stage.asked) == count
            await stage.issue(seconds=1)
            await stage.clock.advance(1)


async def test_a_new_address_is_asked_for_at_once(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    addresses: list[NodeAddress] = []

    def have(*ips: str) -> None:
        named = [("Hostname", "n1"), *(("InternalIP", ip) for ip in ips)]
        addresses[:] = [NodeAddress(type=kind, address=text) for kind, text in named]

    have()
    stage.wanted = subjects.of_server("n1", addresses)
    async with stage.rotating(asking.SERVING) as rotation:
        await stage.clock.advance(3600)
        assert (stage.asked, rotation.failures) == ([], 0)

        async def moved(*ips: str) -> None:
            have(*ips)
            stage.wanted = subjects.of_server("n1", addresses)
            rotation.look_again()
            await settle()

        def names() -> list[str]:
            request = x509.load_pem_x509_csr(base64.b64decode(stage.asked[-1].spec.request))
            found = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            return [str(each.value) for each in found]

        await moved("10.0.0.1")
        assert names() == ["n1", "10.0.0.1"]
        assert stage.asked[0].spec.usages == ["digital signature", "server auth"]
        assert stage.asked[0].spec.signerName == "kubernetes.io/kubelet-serving"
        await moved("10.0.0.2")  # nobody has approved yet
        await stage.clock.advance(2)
        assert (len(stage.asked), names()) == (2, ["n1", "10.0.0.2"])
        await stage.issue()
        await moved("10.0.0.2")
        await stage.clock.advance(1)
        await moved("10.0.0.2")
        assert len(stage.asked) == 2
        await moved("10.0.0.2", "10.0.0.3")
        assert (len(stage.asked), names()) == (3, ["n1", "10.0.0.2", "10.0.0.3"])


@pytest.mark.parametrize(
    ("addresses", "hosts"),
    [
        ([], None),
        ([("Hostname", "n1")], None),
        ([("Hostname", "n1"), ("InternalIP", "nonsense")], None),
        ([("Hostname", "10.0.0.1"), ("InternalIP", "10.0.0.1")], ("10.0.0.1",)),
        (
            [("Hostname", "b"), ("InternalDNS", "a"), ("ExternalIP", "::1"), ("InternalIP", "10.0.0.1"), ("Else", "c")],
            ("a", "b", "10.0.0.1", "::1"),
        ),
        ([("InternalDNS", "10.0.0.2"), ("InternalIP", "10.0.0.1"), ("ExternalDNS", "")], ("10.0.0.2", "10.0.0.1")),
    ],
)
def test_the_serving_certificate_has_what_the_node_is_called_by(addresses: Any, hosts: Any) -> None:
    found = subjects.of_server("n1", [NodeAddress(type=kind, address=text) for kind, text in addresses])
    assert found == (None if hosts is None else Subject("system:node:n1", ("system:nodes",), hosts))


async def test_a_file_without_its_key_ends_the_kubelet(stage: Stage) -> None:
    stage.hold()
    content = stage.store.path.read_bytes()
    stage.store.path.write_bytes(content[: content.index(b"-----BEGIN PRIVATE")] + certificates.new_key())
    with pytest.raises(CannotGoOn, match="holds no certificate with its key: the certificate is not of the key"):
        async with stage.rotating():
            raise AssertionError("it has begun")


async def test_metrics_tell_how_long_certificates_last_and_what_failed(stage: Stage) -> None:
    stage.world.refuse("create", KIND, errors.Forbidden("no"))
    async with stage.rotating() as rotation:
        shown = Exposition([*counting.of_client(rotation, stage.clock), *counting.of_server(rotation, stage.clock)])

        def told(name: str) -> list[str]:
            lines = shown.render()[1].decode().splitlines()
            return [line.rpartition(" ")[2] for line in lines if line.split("{")[0].split(" ")[0] == name]

        assert told("kubelet_certificate_manager_client_ttl_seconds") == ["+Inf"]
        assert told("kubelet_certificate_manager_client_expiration_renew_errors") == ["1.0"]
        assert told("kubelet_server_expiration_renew_errors") == ["1.0"]
        stage.world.refusals.clear()
        await stage.clock.advance(2)
        await stage.issue()
        await stage.clock.advance(100.5)
        assert told("kubelet_certificate_manager_client_ttl_seconds") == ["899.0"]
        assert told("kubelet_certificate_manager_server_ttl_seconds") == ["899.0"]
        assert told("kubelet_certificate_manager_server_rotation_seconds_sum") == []
        await stage.clock.advance(600)
        await stage.issue()
        assert told("kubelet_certificate_manager_server_rotation_seconds_count") == ["1.0"]
        await stage.clock.advance(LIFE)
        assert told("kubelet_certificate_manager_client_ttl_seconds") == ["+Inf"]


def test_flags_have_upstreams_names_and_defaults() -> None:
    plain = parse(FLAGS).certificates
    assert (plain.renews_client, plain.renews_server, plain.bootstrap, plain.client_pair) == (False, False, None, None)
    assert plain.client == Path("/var/lib/wherry/kubelet/n1/pki/kubelet-client-current.pem")
    asking_ = parse([*FLAGS, "--rotate-certificates", "--rotate-server-certificates=true", "--cert-dir", "/c"])
    found = asking_.certificates
    assert (found.renews_client, found.renews_server) == (True, True)
    assert (found.client_pair, found.server) == (
        Path("/c/kubelet-client-current.pem"), Path("/c/kubelet-server-current.pem"),
    )  # fmt: skip


def test_nodes_that_share_a_process_cannot_ask(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse([*FLAGS, "--runtime=simulated", "--simulated-nodes=2", "--rotate-certificates"])
    assert "many nodes in one process share one certificate" in capsys.readouterr().err
