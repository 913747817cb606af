"""A default that is younger than an object gets into it, and nothing else does."""

import json
from pathlib import Path
from typing import Any

from apiserver.storage.etcd import Endpoints, Etcd
from machinery.testing import apiserver, etcd, write_certificates
from tests.integration.conformance.conftest import client_of

MAPS, SERVICES = "/api/v1/namespaces/default/configmaps", "/api/v1/namespaces/default/services"
KEY = b"/registry/services/default/%b"
SERVICE = {"spec": {"ports": [{"port": 80}], "selector": {"app": "a"}}}


async def rewritten(client: Etcd, name: bytes, change: Any) -> None:
    """As another release would have stored it."""
    key = KEY % name
    document = json.loads((await client.range(key)).kvs[0].value)
    change(document)
    await client.put(key, json.dumps(document, separators=(",", ":")).encode())


def without_defaults(document: Any) -> None:
    del document["spec"]["internalTrafficPolicy"]
    del document["spec"]["ports"][0]["protocol"]


def from_the_future(document: Any) -> None:
    document["spec"]["fieldOfTheNextRelease"] = "kept"


async def test_what_an_older_release_has_stored_gets_the_defaults_that_came_later(tmp_path: Path) -> None:
    pki = tmp_path / "pki"
    write_certificates(pki)
    own = pki / "apiserver"
    async with etcd(tmp_path, pki) as url:
        async with apiserver(tmp_path, pki, url) as plane, client_of(plane) as api:
            for name in ("old", "whole", "new"):
                await api.create(SERVICES, {"metadata": {"name": name}, **SERVICE})
            before = {name: await api.get(f"{SERVICES}/{name}") for name in ("old", "whole")}
        async with Etcd(Endpoints((url,), own / "ca.crt", own / "tls.crt", own / "tls.key")) as client:
            await rewritten(client, b"old", without_defaults)
            await rewritten(client, b"new", from_the_future)
            async with apiserver(tmp_path, pki, url) as plane, client_of(plane) as api:
                after = await api.until(f"{SERVICES}/old", lambda obj: "internalTrafficPolicy" in obj["spec"])
                whole = await api.get(f"{SERVICES}/whole")
            newer = json.loads((await client.range(KEY % b"new")).kvs[0].value)
    assert whole == before["whole"]
    assert after["metadata"].pop("resourceVersion") > before["old"]["metadata"].pop("resourceVersion")
    assert after == before["old"]
    assert newer["spec"]["fieldOfTheNextRelease"] == "kept"
