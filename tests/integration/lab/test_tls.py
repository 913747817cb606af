"""TLS at every port of the lab: how old it may be, how weak its ciphers, and new certificates while it runs."""

import json
import socket
import ssl
import subprocess
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509

from tests.integration.lab.tls_ports import REFUSED, TlsPort, tls_ports, unconcerned
from tests.unit.wherry import test_ports
from wherry import certificates, renewing
from wherry.kubectl import Kubectl
from wherry.labs import Lab

WITHOUT_TLS = {("cluster-dns", "53"), ("kube-proxy", "10256"), ("kube-proxy", "10249")}
WEAK = [
    "AES128-SHA", "AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA", "ECDHE-RSA-AES128-SHA",
    "ECDHE-ECDSA-NULL-SHA", "DHE-RSA-AES128-SHA", "ADH-AES128-SHA256", "AECDH-AES128-SHA", "PSK-AES128-CBC-SHA",
]  # fmt: skip


def old(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = unconcerned()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that is what it is about
        context.minimum_version = context.maximum_version = version
    return context


def weak(ciphers: str) -> ssl.SSLContext:
    context = unconcerned()
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # whose ciphers are chosen; those of 1.3 are all good
    return context


@contextmanager
def lax(directory: Path) -> Iterator[int]:
    """A port that takes what nobody should take."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    context.load_cert_chain(directory / "tls.crt", directory / "tls.key")

    def serve() -> None:
        for _ in range(3):
            context.wrap_socket(listener.accept()[0], server_side=True).close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def test_every_port_of_the_table_is_looked_at(lab: Lab) -> None:
    table = {(part, port) for part, port in test_ports.told() if part != "balancer"}
    assert {(test_ports.part(p.part), str(p.number)) for p in tls_ports(lab)} == table - WITHOUT_TLS


def test_no_port_speaks_a_tls_older_than_1_2_or_a_weak_cipher(lab: Lab) -> None:
    attacks = [old(ssl.TLSVersion.TLSv1), old(ssl.TLSVersion.TLSv1_1), weak(":".join(WEAK))]
    with lax(lab.pki / "admin") as number:
        for attack in attacks:  # else it would be the client who refuses
            TlsPort("lax", "127.0.0.1", number).connected(attack).close()
    good = old(ssl.TLSVersion.TLSv1_2)
    for port in tls_ports(lab):
        own = lab.pki / ("etcd" if port.is_etcds else "admin")
        for context in (good, *attacks):  # else it might be for want of a certificate
            context.load_cert_chain(own / "tls.crt", own / "tls.key")
        port.connected(good).close()
        for attack in attacks:
            with pytest.raises(OSError, match=r"(?i)alert|reset|EOF|unsupported protocol|handshake"):
                port.connected(attack).close()


def serials(lab: Lab) -> dict[str, int]:
    """As the files have them."""
    ports = {port.part for port in tls_ports(lab)}
    found = {}
    for name in ports:
        certificate = x509.load_pem_x509_certificate((lab.pki / name / "tls.crt").read_bytes())
        found[name] = certificate.serial_number
    return found


@contextmanager
def watching(kubectl: Kubectl) -> Iterator[list[str]]:
    """What one watch tells of config maps while the block runs."""
    told: list[str] = []
    command = kubectl.command("get", "configmaps", "--watch", "-o", "name")
    with subprocess.Popen(command, env=kubectl.environment(), stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            assert running.stdout.readline() == "configmap/kube-root-ca.crt\n"
            yield told
            assert running.poll() is None  # kubectl ends with its watch
        finally:
            running.terminate()
            told += [line.strip().removeprefix("configmap/") for line in running.stdout]


def test_certificates_and_their_authorities_are_renewed_while_clients_watch(
    lab: Lab, kubectl: Kubectl, tmp_path: Path
) -> None:
    """Everything but etcd goes on as it is: no process is another one afterwards, and no watch has ended."""
    before, processes = serials(lab), started(lab)
    stolen = {name: tmp_path / name for name in ("admin", "apiserver", "etcd")}
    for name, copy in stolen.items():
        copy.mkdir()
        for file in ("tls.crt", "tls.key", "ca.crt"):
            (copy / file).write_bytes((lab.pki / name / file).read_bytes())
    with watching(kubectl) as told:
        kubectl("create", "configmap", "first")
        renewing.renew(lab, [])
        leaves = serials(lab)
        assert not set(leaves.values()) & set(before.values())
        for port in tls_ports(lab):
            assert port.shown() == leaves[port.part], str(port)
            thief = stolen["etcd" if port.is_etcds else "admin"]
            if port.number != 2380:
                port.lets_in((thief / "tls.crt", thief / "tls.key"), thief / "ca.crt")  # by the same authority still
        kubectl("create", "configmap", "second")
        renewing.renew(lab, [*certificates.AUTHORITIES, renewing.ACCOUNTS])
        kubectl("create", "configmap", "third")
        renewing.forget(lab, [*certificates.AUTHORITIES, renewing.ACCOUNTS])
        kubectl("create", "configmap", "fourth")
        for port in tls_ports(lab):
            assert port.shown() == serials(lab)[port.part] != leaves[port.part], str(port)
            assert_refuses(port, lab, stolen["etcd" if port.is_etcds else "admin"])
        kubectl("run", "late", "--image=wherry/component:dev", "--command", "--", "sleep", "3600")
        kubectl("wait", "--for=condition=Ready", "pod/late", "--timeout=60s")
        assert "uid=" in kubectl("exec", "late", "--", "id")
    assert [name for name in told if name != "kube-root-ca.crt"] == ["first", "second", "third", "fourth"]
    changed = {name for name, at in started(lab).items() if at != processes[name]}
    assert changed == {lab.container("etcd")}


def assert_refuses(port: TlsPort, lab: Lab, thief: Path) -> None:
    own = lab.pki / ("etcd" if port.is_etcds else "admin")
    with pytest.raises(ssl.SSLCertVerificationError):
        port.lets_in(None, thief / "ca.crt")  # who trusts the old authority only
    if port.number in (6445, 2380):  # one asks nobody for a certificate, one wants the address, too, to be a member's
        return
    port.lets_in((own / "tls.crt", own / "tls.key"), own / "ca.crt")
    with pytest.raises(OSError, match=REFUSED):
        port.lets_in((thief / "tls.crt", thief / "tls.key"), own / "ca.crt")


def started(lab: Lab) -> dict[str, str]:
    """Container → when its process began, of the lab's services."""
    names = subprocess.run(
        ["docker", "ps", "-q", "--filter", f"label=com.docker.compose.project={lab.name}"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    found = subprocess.run(["docker", "inspect", *names], capture_output=True, text=True, check=True).stdout
    return {each["Name"].strip("/"): each["State"]["StartedAt"] for each in json.loads(found)}
