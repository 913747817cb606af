"""etcd's members, asked one by one through their JSON gateway: who leads, who is well, and what an operator does.

https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway/
"""

import base64
import json
import ssl
import time
from contextlib import closing
from http.client import HTTPException, HTTPSConnection
from typing import Any

from wherry import masters
from wherry.labs import Lab

NAMES = tuple(masters.names("etcd"))
ANSWER_SECONDS = 3
ELECTION_SECONDS = 20
LOOK = 0.2


class Members:
    def __init__(self, lab: Lab) -> None:
        own = lab.pki / "apiserver"
        self._tls = ssl.create_default_context(cafile=str(own / "etcd-ca.crt"))
        self._tls.load_cert_chain(own / "etcd-client.crt", own / "etcd-client.key")
        first = masters.FIRST_ADDRESS["etcd"]
        self._addresses = {name: f"{lab.network}.{first + n}" for n, name in enumerate(NAMES)}

    def leader(self) -> str:
        """Nothing tells when one is elected, so they are asked. Raises TimeoutError."""
        end = time.monotonic() + ELECTION_SECONDS
        while time.monotonic() < end:
            for name in NAMES:
                if self._leads(name):
                    return name
            time.sleep(LOOK)
        raise TimeoutError("no etcd member leads")

    def unwell(self) -> list[str]:
        """Those that do not say that they are well, and why."""
        found = []
        for name in NAMES:
            try:
                self._ask(name, "/health")
            except OSError as e:
                found.append(f"etcd member {name} is not well: {e}")
        return found

    def put(self, name: str, key: str, value: bytes) -> None:
        """Raises OSError if that member does not take it."""
        self._call(name, "/v3/kv/put", key=_text(key.encode()), value=_text(value))

    def delete(self, name: str, first: str, end: str) -> None:
        self._call(name, "/v3/kv/deleterange", key=_text(first.encode()), range_end=_text(end.encode()))

    def compact(self, name: str, revision: int) -> None:
        self._call(name, "/v3/kv/compaction", revision=str(revision))

    def alarm(self, name: str, *, on: bool) -> None:
        """NOSPACE of this member, as it raises it by itself when its quota is reached, and as its operator ends it."""
        mine = self._call(name, "/v3/maintenance/status")["header"]["member_id"]
        action = "ACTIVATE" if on else "DEACTIVATE"
        self._call(name, "/v3/maintenance/alarm", action=action, memberID=mine, alarm="NOSPACE")

    def _leads(self, name: str) -> bool:
        try:
            return b"\netcd_server_is_leader 1\n" in self._ask(name, "/metrics")
        except OSError:
            return False

    def _call(self, name: str, path: str, **body: str) -> Any:
        return json.loads(self._ask(name, path, json.dumps(body)))

    def _ask(self, name: str, path: str, body: str | None = None) -> bytes:
        """Raises OSError also for an answer that is a refusal."""
        there = HTTPSConnection(self._addresses[name], 2379, context=self._tls, timeout=ANSWER_SECONDS)
        with closing(there):
            try:
                there.request("GET" if body is None else "POST", path, body)
                answer = there.getresponse()
                told = answer.read()
            except HTTPException as e:
                raise OSError(f"{path} of {name}: {e!r}") from e
        if answer.status >= 300:
            raise OSError(f"{path} of {name} says {answer.status}: {told.decode(errors='replace').strip()}")
        return told


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()
