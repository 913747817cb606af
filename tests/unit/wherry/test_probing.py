import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from wherry import certificates
from wherry.probing import probe


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("pki")
    certificates.write(place, [])
    return place / "scheduler"


@contextmanager
def serving(pki: Path, answer: bytes) -> Iterator[int]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=pki / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(pki / "tls.crt", pki / "tls.key")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with context.wrap_socket(listener.accept()[0], server_side=True) as connection:
                if answer and connection.recv(4096):
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def test_a_handshake_is_health_enough_without_a_path(pki: Path) -> None:
    with serving(pki, b"") as port:
        assert probe(port, directory=str(pki)) == ""


@pytest.mark.parametrize(("status", "fault"), [("200 OK", ""), ("500 No", "/readyz answers 500")])
def test_a_path_must_answer_200(pki: Path, status: str, fault: str) -> None:
    answer = f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
    with serving(pki, answer) as port:
        assert probe(port, "/readyz", str(pki)) == fault


def test_a_closed_port_is_told(pki: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert "refused" in probe(port, directory=str(pki))
