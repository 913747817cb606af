"""Every port of a lab that speaks TLS, as docs/security.md has them, and what a client learns there of who serves."""

import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from wherry.labs import NODES, Lab, node_names

PATIENCE = 5.0
REFUSED = r"alert|reset|EOF|closed|handshake|ended"


@dataclass(frozen=True)
class TlsPort:
    part: str
    """Whose it is, and whose directory has its certificate."""
    address: str
    number: int
    protocol: str = "h2"
    is_etcds: bool = False

    def __str__(self) -> str:
        return f"{self.part} {self.number}"

    def shown(self) -> int:
        """The serial number of the certificate."""
        with self.connected(unconcerned()) as tls:
            told = tls.getpeercert(True)
        assert told is not None
        return x509.load_der_x509_certificate(told).serial_number

    def lets_in(self, pair: tuple[Path, Path] | None, ca: Path) -> None:
        """Raises OSError if it refuses, or if it is not of that authority."""
        context = ssl.create_default_context(cafile=str(ca))
        context.check_hostname = False
        context.set_alpn_protocols([self.protocol])
        if pair:
            context.load_cert_chain(*pair)
        with self.connected(context) as tls:
            # With TLS 1.3 a refusal comes after the handshake: HTTP/2 begins to talk by itself, HTTP/1.1 is asked.
            if self.protocol != "h2":
                tls.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
            if not tls.recv(1):
                raise ConnectionResetError("the connection was ended")

    def connected(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        connection = socket.create_connection((self.address, self.number), PATIENCE)
        return context.wrap_socket(connection, server_hostname=self.address)


def tls_ports(lab: Lab) -> Iterator[TlsPort]:
    def at(last: int) -> str:
        return f"{lab.network}.{last}"

    for number in (2379, 2380):
        yield TlsPort("etcd", at(10), number, "h2" if number == 2379 else "http/1.1", is_etcds=True)
    for number, protocol in ((6443, "http/1.1"), (6444, "h2"), (6445, "h2")):
        yield TlsPort("apiserver", at(20), number, protocol)
    yield TlsPort("controller-manager", at(30), 10257)
    yield TlsPort("scheduler", at(40), 10259)
    for last in (50, 51):
        yield TlsPort("cluster-dns", at(last), 10053)
    for last, node in enumerate(node_names(NODES), 101):
        yield TlsPort(f"{node}-kubelet", at(last), 10250, "http/1.1")
        yield TlsPort(f"{node}-kubelet", at(last), 10251)


def unconcerned() -> ssl.SSLContext:
    """It is not the client who is on trial."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context
