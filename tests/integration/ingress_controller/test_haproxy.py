"""The real HAProxy on loopback: what it answers, and what nobody notices."""

import asyncio
import contextlib
import http.client
import http.server
import os
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ingress_controller import processes
from ingress_controller.haproxy import Place
from ingress_controller.processes import Haproxy, Refused
from ingress_controller.sites import Certificate, Host, Server, Site
from ingress_controller.sites import Path as SitePath
from machinery.certificates import Authority, Subject
from machinery.testing import free_port

MOST_EACH = 50
AUTHORITY = Authority.create("test")


def pem(name: str) -> str:
    pair = AUTHORITY.issue(Subject(name, (), (name,)))
    return (pair.certificate + pair.key).decode()


class Backend:
    """Answers every request with its name and what it was asked; slowly if asked to."""

    def __init__(self, name: str) -> None:
        backend = self

        class Answer(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if self.path == "/slow":
                    backend.asked.set()
                    backend.go.wait(10)
                body = (
                    f"{name} {self.path} {self.headers['X-Forwarded-Proto']} {self.headers['X-Forwarded-For']}".encode()
                )
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                return

        self.asked, self.go = threading.Event(), threading.Event()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    @property
    def server(self) -> Server:
        return Server("127.0.0.1", self._server.server_port)

    def close(self) -> None:
        self.go.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def backends() -> Iterator[tuple[Backend, Backend]]:
    made = Backend("one"), Backend("two")
    yield made
    for each in made:
        each.close()


class Running:
    def __init__(self, directory: Path) -> None:
        self.place = Place(str(directory), "127.0.0.1", free_port(), free_port(), free_port(), most_each=MOST_EACH)
        self.haproxy = Haproxy(self.place, pem("own.example"))

    def ask(self, host: str, path: str = "/", address: str = "127.0.0.1") -> tuple[int, str]:
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.place.http_port, timeout=5, source_address=(address, 0)
        )
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Host": host})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def who(self, host: str, path: str = "/") -> str:
        """The name of the backend that answers, or the status."""
        status, body = self.ask(host, path)
        return body.split()[0] if status == 200 else str(status)

    def certified(self, name: str) -> tuple[str, str]:
        """Whose certificate is shown to whoever asks for that name, and the answer."""
        context = ssl.create_default_context(cadata=AUTHORITY.pair.certificate.decode())
        context.check_hostname = False
        raw = socket.create_connection(("127.0.0.1", self.place.https_port), 5)
        with context.wrap_socket(raw, server_hostname=name) as connection:
            connection.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda: connection.recv(4096), b"")).decode()
            shown = dict(connection.getpeercert()["subjectAltName"])  # type: ignore[index,arg-type]
            return shown["DNS"], answer.rpartition("\r\n")[2]  # type: ignore[index]

    async def asking(self, end: asyncio.Event) -> list[str]:
        """What goes wrong with requests of a connection each, without a pause, until the end."""
        faults = []
        while not end.is_set():
            try:
                told = await asyncio.to_thread(self.who, "a.example")
            except OSError as e:
                told = str(e)
            if told not in ("one", "two"):
                faults.append(told)
        return faults


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    made = Running(tmp_path)
    task = asyncio.create_task(made.haproxy.run())
    await made.haproxy.started()
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def path(beginning: str, backend: str, *, exact: bool = False) -> SitePath:
    return SitePath(beginning, exact, backend)


def simple(*servers: Server, **more: object) -> Site:
    return Site(hosts=(Host("a.example", (path("/", "n_s_80"),)),), backends={"n_s_80": servers}, **more)  # type: ignore[arg-type]


async def test_whoever_only_holds_connections_has_so_many_and_others_are_served(
    running: Running, backends: tuple[Backend, Backend]
) -> None:
    await running.haproxy.serve(simple(backends[0].server))
    held = [await asyncio.open_connection("127.0.0.1", running.place.http_port) for _ in range(MOST_EACH + 1)]
    reads = [asyncio.create_task(reader.read()) for reader, _ in held]
    done, _ = await asyncio.wait(reads, timeout=20, return_when=asyncio.FIRST_COMPLETED)
    first = done.pop()
    assert isinstance(first.exception(), ConnectionResetError) or first.result() == b"", "refused, not timed out"
    assert (await asyncio.to_thread(running.ask, "a.example", "/", "127.0.0.2"))[0] == 200
    for _, writer in held:
        writer.close()
    await asyncio.gather(*reads, return_exceptions=True)


async def test_requests_are_led_by_host_and_path(running: Running, backends: tuple[Backend, Backend]) -> None:
    one, two = (b.server for b in backends)
    hosts = (
        Host("a.example", (path("/shop/cart", "n_two_80"), path("/shop", "n_one_80"), path("/it's", "n_one_80"))),
        Host("exact.example", (path("/foo", "n_two_80", exact=True), path("/", "n_one_80"))),
        Host("*.wild.example", (path("/", "n_two_80"),)),
        Host("empty.example", (path("/", "n_none_80"),)),
    )
    site = Site(hosts, backends={"n_one_80": (one,), "n_two_80": (two,), "n_none_80": ()})
    await running.haproxy.serve(site)
    for host, asked, answer in (
        ("a.example", "/shop", "one"), ("a.example", "/shop/", "one"), ("A.EXAMPLE:8080", "/shop/x?y", "one"),
        ("a.example", "/shop/cart/1", "two"), ("a.example", "/shop/cartoon", "one"), ("a.example", "/shopping", "404"),
        ("a.example", "/", "404"), ("a.example", "/it's/x", "one"), ("exact.example", "/foo", "two"),
        ("exact.example", "/foo/", "one"), ("exact.example", "/FOO", "one"), ("x.wild.example", "/", "two"),
        ("wild.example", "/", "404"), ("x.y.wild.example", "/", "404"), ("xwild.example", "/", "404"),
        ("empty.example", "/", "503"), ("nobody.example", "/", "404"),
    ):  # fmt: skip
        assert running.who(host, asked) == answer, (host, asked)
    assert running.ask("nobody.example") == (404, "default backend - 404")
    await running.haproxy.serve(Site((*hosts, Host("", (path("/", "n_one_80"),))), "n_two_80", site.backends))
    assert running.who("nobody.example") == "one"
    assert running.who("a.example", "/other") == "two"


async def test_whoever_answers_is_told_who_asked_and_how(running: Running, backends: tuple[Backend, Backend]) -> None:
    await running.haproxy.serve(simple(backends[0].server))
    assert running.ask("a.example") == (200, "one / http 127.0.0.1")
    assert running.certified("a.example") == ("own.example", "one / https 127.0.0.1")


async def test_each_name_is_shown_its_certificate(running: Running, backends: tuple[Backend, Backend]) -> None:
    certificates = (Certificate(("a.example",), pem("a.example")), Certificate((), pem("b.example")))
    await running.haproxy.serve(simple(backends[0].server, certificates=certificates))
    assert [running.certified(f"{n}.example")[0] for n in "abc"] == ["a.example", "b.example", "own.example"]
    renewed = Certificate(("a.example",), pem("a.example"))
    await running.haproxy.serve(simple(backends[0].server, certificates=(renewed,)))
    assert [running.certified(f"{n}.example")[0] for n in "ab"] == ["a.example", "own.example"]
    assert len(os.listdir(running.place.certificates)) == 3


async def test_endpoints_come_and_go_without_a_reload_and_nobody_notices(
    running: Running, backends: tuple[Backend, Backend], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (b.server for b in backends)
    await running.haproxy.serve(simple(one))
    monkeypatch.setattr(Haproxy, "_reload", None)
    end = asyncio.Event()
    asking = asyncio.create_task(running.asking(end))
    for _ in range(20):
        for servers in ((two,), (one, two), (one,)):
            await running.haproxy.serve(simple(*servers))
            told = {await asyncio.to_thread(running.who, "a.example") for _ in range(4)}
            assert told <= {"one" if s == one else "two" for s in servers}
    end.set()
    assert await asking == []


async def test_reloads_refuse_no_connection_and_end_no_request(
    running: Running, backends: tuple[Backend, Backend]
) -> None:
    one = backends[0].server
    await running.haproxy.serve(simple(one))
    slow = asyncio.create_task(asyncio.to_thread(running.ask, "a.example", "/slow"))
    await asyncio.to_thread(backends[0].asked.wait)
    end = asyncio.Event()
    asking = [asyncio.create_task(running.asking(end)) for _ in range(2)]
    for number in range(8):
        site = simple(one)
        await running.haproxy.serve(
            Site((*site.hosts, Host(f"h{number}.example", (path("/", "n_s_80"),))), "", site.backends)
        )
        assert running.who(f"h{number}.example") == "one"
    end.set()
    assert [await a for a in asking] == [[], []]
    backends[0].go.set()
    assert await slow == (200, "one /slow http 127.0.0.1")


async def test_a_refused_configuration_leaves_what_was_served(
    running: Running, backends: tuple[Backend, Backend]
) -> None:
    await running.haproxy.serve(simple(backends[0].server))
    with pytest.raises(Refused, match="unable to load"):
        await running.haproxy.serve(simple(backends[0].server, certificates=(Certificate((), "no certificate"),)))
    assert running.who("a.example") == "one"
    await running.haproxy.serve(simple(backends[1].server))
    assert running.who("a.example") == "two"


async def test_a_reload_that_fails_after_all_is_refused_and_tried_again(
    running: Running, backends: tuple[Backend, Backend], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = backends
    await running.haproxy.serve(simple(one.server))

    async def check() -> None:
        (Path(running.place.directory) / "haproxy.cfg").write_text("nonsense")

    with monkeypatch.context() as patched:
        patched.setattr(running.haproxy, "_check", check)
        with pytest.raises(Refused, match="has not replaced its workers"):
            await running.haproxy.serve(
                Site(hosts=simple().hosts, default="n_s_80", backends={"n_s_80": (two.server,)})
            )
    assert await asyncio.to_thread(running.who, "a.example") == "one"
    await running.haproxy.serve(Site(hosts=simple().hosts, default="n_s_80", backends={"n_s_80": (two.server,)}))
    assert await asyncio.to_thread(running.who, "a.example") == "two"


async def test_an_endpoint_that_refuses_is_passed_over(running: Running, backends: tuple[Backend, Backend]) -> None:
    gone = Server("127.0.0.1", free_port())
    await running.haproxy.serve(simple(backends[0].server, gone))
    assert {running.who("a.example") for _ in range(10)} == {"one"}


async def test_more_endpoints_than_places_are_served_too(
    running: Running, backends: tuple[Backend, Backend], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingress_controller.haproxy.PLACES", 1)
    one, two = (b.server for b in backends)
    await running.haproxy.serve(simple(one))
    await running.haproxy.serve(simple(one, two))
    assert {running.who("a.example") for _ in range(10)} == {"one", "two"}
    assert processes.AT_ONCE > 1
