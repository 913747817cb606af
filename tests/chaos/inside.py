"""A program for a pod: asks a Service, and the API by the `kubernetes` Service, and tells every second what came of it.

Every request has a connection of its own, and asks cluster DNS for the way.
"""

import http.client
import itertools
import json
import ssl
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
PATH = f"/api/v1/namespaces/{(ACCOUNT / 'namespace').read_text()}/configmaps"
TIMEOUT = 10
done: Counter[str] = Counter()
again: Counter[str] = Counter()
unknown: Counter[str] = Counter()
"""Answers to writes that say that the API server does not know either."""
failures: list[str] = []


class Unknown(http.client.HTTPException):
    pass


def traffic() -> None:
    while True:
        try:
            ask(http.client.HTTPConnection("web", timeout=TIMEOUT), "GET", "/")
            done["service"] += 1
        except (OSError, http.client.HTTPException) as e:
            failures.append(f"{time.strftime('%X')} service: {e!r}")
        time.sleep(0.02)


def api() -> None:
    tls = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    for n in itertools.count():
        name = f"inside-{n}"
        try:
            call(tls, "POST", PATH, {"metadata": {"name": name}})
            call(tls, "GET", f"{PATH}/{name}")
            call(tls, "DELETE", f"{PATH}/{name}")
        except Unknown as e:
            unknown[str(e)] += 1
        except (OSError, http.client.HTTPException) as e:
            failures.append(f"{time.strftime('%X')} API {name}: {e!r}")


def call(tls: ssl.SSLContext, method: str, path: str, body: Any = None) -> None:
    """Tries again what was not sent, and reads."""
    while True:
        connection = http.client.HTTPSConnection("kubernetes.default.svc", timeout=TIMEOUT, context=tls)
        sent = False
        try:
            connection.connect()
            sent = True
            token = (ACCOUNT / "token").read_text()
            ask(connection, method, path, body, Authorization=f"Bearer {token}")
        except (OSError, http.client.HTTPException) as e:
            if sent and method != "GET":
                raise
            again[type(e).__name__] += 1
            time.sleep(0.02)
        else:
            done[f"API {method}"] += 1
            return


def ask(
    connection: http.client.HTTPConnection, method: str, path: str, body: Any = None, **headers: str
) -> None:  # fmt: skip
    content = json.dumps(body) if body is not None else None
    connection.request(method, path, content, {"Connection": "close", **headers})
    answer = connection.getresponse()
    told = answer.read()
    if answer.status in (503, 504):
        raise Unknown(f"{answer.status}: {told[:300]!r}")
    if answer.status >= 300:
        raise http.client.HTTPException(f"{answer.status}: {told[:300]!r}")


for work in (traffic, api):
    threading.Thread(target=work, daemon=True).start()
while True:
    time.sleep(1)
    print(json.dumps({"done": done, "again": again, "unknown": unknown, "failures": failures}), flush=True)
