"""A site in HAProxy's words. Pure.
https://docs.haproxy.org/2.6/configuration.html

Each backend has more places for servers than it needs, so that endpoints come and go through the running process'
socket; only a change of anything else is a new configuration, for which HAProxy starts new workers.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ingress_controller.sites import NOWHERE, Host, Path, Server, Site

PLACES = 8
"""A backend has a power of two times as many."""
MOST, MOST_EACH = 3000, 2000
"""Connections, in all and of one address: what comes by way of another node has that node's. HAProxy's own limit is
what descriptors allow, which may be a million."""
SPARE = 100
"""Connections beyond those, for who asks whether it is well."""
MOST_BUFFERS = 16384
"""Of 16 kB each, for what is on its way: a connection of HTTP/2 may have two for each of a hundred streams."""
NOT_FOUND = "default backend - 404"
EMPTY = Server("127.0.0.1", 1)

Seats = Mapping[str, tuple[Server | None, ...]]
"""By backend: who is in which of its places."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where HAProxy keeps its files and listens."""

    directory: str
    address: str
    http_port: int
    https_port: int
    health_port: int
    most_each: int = MOST_EACH

    @property
    def socket(self) -> str:
        return f"{self.directory}/runtime.sock"

    @property
    def certificates(self) -> str:
        return f"{self.directory}/certificates"


def seat(site: Site, before: Seats) -> Seats:
    """A place for each server: whoever had one keeps it."""
    return {name: _seat(servers, before.get(name, ())) for name, servers in site.backends.items()}


def _seat(servers: tuple[Server, ...], before: tuple[Server | None, ...]) -> tuple[Server | None, ...]:
    size = PLACES
    while size < len(servers):
        size *= 2
    there = set(servers)
    seats = [old if old in there else None for old in before[:size]] + [None] * (size - len(before))
    seated = set(seats)
    waiting = (server for server in servers if server not in seated)
    return tuple(next(waiting, None) if held is None else held for held in seats)


def moves(before: Seats, after: Seats) -> Iterator[str]:
    """What to tell the running process; the backends and their numbers of places are the same."""
    for name, seats in after.items():
        for number, (old, new) in enumerate(zip(before[name], seats, strict=True)):
            if old == new:
                continue
            at = f"{name}/s{number}"
            if new is None:
                # What it is answering is answered; nothing new comes.
                yield f"set server {at} state maint"
            else:
                yield f"set server {at} addr {new.address} port {new.port}"
                yield f"set server {at} state ready"


def fits(before: Seats, after: Seats) -> bool:
    """Can one become the other by `moves`?"""
    return {n: len(s) for n, s in before.items()} == {n: len(s) for n, s in after.items()}


def configuration(site: Site, seats: Seats, place: Place) -> str:
    parts = (_head(place), _frontend(site, place), *_backends(seats))
    return "\n".join(line for part in parts for line in part) + "\n"


def certificate_files(site: Site, own: str) -> dict[str, str]:
    """Name → content; `own` is for whoever asks for no name of the others. `list` says which is for whom."""
    files = {"own.pem": own}
    lines = ["own.pem"]
    for each in site.certificates:
        name = f"{hashlib.sha256(each.pem.encode()).hexdigest()[:32]}.pem"
        files[name] = each.pem
        lines.append(" ".join((name, *each.hosts)))
    files["list"] = "\n".join(dict.fromkeys(lines)) + "\n"
    return files


def _head(place: Place) -> list[str]:
    return [
        "global",
        f"  maxconn {MOST + SPARE}",
        f"  tune.buffers.limit {MOST_BUFFERS}",
        f"  stats socket {place.socket} mode 600 level admin expose-fd listeners",
        f"  crt-base {place.certificates}",
        "  log stdout format raw daemon notice",
        "  ssl-default-bind-options ssl-min-ver TLSv1.2",
        "  ssl-default-bind-ciphers ECDHE+AESGCM:ECDHE+CHACHA20",
        # Of workers that have been replaced: long streams end then.
        "  hard-stop-after 1h",
        "defaults",
        "  mode http",
        "  timeout connect 2s",
        # Also of the TLS handshake, and between two pieces of a body.
        "  timeout client 60s",
        "  timeout server 60s",
        # A head; the documentation's advice against clients that never finish it is some seconds.
        "  timeout http-request 10s",
        "  timeout http-keep-alive 60s",
        # What a client has not said that it has got is kept so long after the end.
        "  timeout client-fin 30s",
        "  timeout tunnel 1h",
        "  option forwardfor",
        # An endpoint that has just gone refuses; nothing was sent to it then, so another may be asked.
        "  option redispatch 1",
        "  retries 3",
        "  balance roundrobin",
        "frontend health",
        f"  bind {place.address}:{place.health_port}",
        "  http-request return status 200 content-type text/plain string ok if { path /healthz }",
        "  http-request return status 404",
    ]


def _frontend(site: Site, place: Place) -> list[str]:
    lines = [
        "frontend web",
        f"  maxconn {MOST}",
        f"  stick-table type ipv6 size {MOST} expire 1m store conn_cur",
        "  tcp-request connection track-sc0 src",
        f"  tcp-request connection reject if {{ sc0_conn_cur gt {place.most_each} }}",
        f"  bind {place.address}:{place.http_port}",
        f"  bind {place.address}:{place.https_port} ssl crt-list {place.certificates}/list alpn h2,http/1.1",
        "  http-request set-header X-Forwarded-Proto https if { ssl_fc }",
        "  http-request set-header X-Forwarded-Proto http unless { ssl_fc }",
        "  http-request set-var(txn.host) req.hdr(host),host_only,lower",
    ]
    for host in site.hosts:
        lines += _host(host, site.default)
    return [*lines, f"  default_backend {_name(site.default)}"]


def _host(host: Host, default: str) -> Iterator[str]:
    condition = _of_host(host.name)
    for path in host.paths:
        terms = [" ".join(filter(None, (condition, term))) for term in _of_path(path)]
        yield _use(path.backend, " || ".join(terms))
    if host.name:
        yield _use(default, condition)


def _use(backend: str, condition: str) -> str:
    return f"  use_backend {_name(backend)}" + (f" if {condition}" if condition else "")


def _of_host(name: str) -> str:
    if not name:
        return ""
    if name.startswith("*."):
        return f"{{ var(txn.host) -m reg {quoted('^[^.]+' + name[1:].replace('.', '[.]') + '$')} }}"
    return f"{{ var(txn.host) -m str {quoted(name)} }}"


def _of_path(path: Path) -> list[str]:
    """Conditions of which one must hold; "" always does."""
    if path.exact:
        return [f"{{ path -m str {quoted(path.path)} }}"]
    if path.path == "/":
        return [""]
    return [f"{{ path -m str {quoted(path.path)} }}", f"{{ path -m beg {quoted(path.path + '/')} }}"]


def quoted(text: str) -> str:
    """One word of a configuration, whatever is in it (but line ends, which nothing can quote)."""
    return "'" + text.replace("'", "'\\''") + "'"


def _backends(seats: Seats) -> Iterator[Iterable[str]]:
    yield (
        f"backend {_name(NOWHERE)}",
        f"  http-request return status 404 content-type text/plain string {quoted(NOT_FOUND)}",
    )
    for name, places in seats.items():
        yield f"backend {name}", *(_server(number, server) for number, server in enumerate(places))


def _server(number: int, server: Server | None) -> str:
    address, port = server or EMPTY
    return f"  server s{number} {address}:{port}" + ("" if server else " disabled")


def _name(backend: str) -> str:
    return backend or "nowhere"
