"""Secrets lie encrypted in etcd, keys are rotated, and a wrong key is told so."""

import base64
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from apiserver.storage.etcd import Endpoints, Etcd
from machinery.testing import ControlPlane, apiserver, etcd, write_certificates

SECRETS, MAPS = "/api/v1/namespaces/default/secrets", "/api/v1/namespaces/default/configmaps"
FIRST, SECOND = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))


def configuration(path: Path, *providers: str) -> str:
    listed = "\n".join(f"  - {p}" for p in providers)
    head = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n"
    path.write_text(f"{head}  providers:\n{listed}\n")
    return f"--encryption-provider-config={path}"


def key(name: str, secret: str, sort: str = "aesgcm") -> str:
    return f"{sort}: {{keys: [{{name: {name}, secret: {secret}}}]}}"


async def call(plane: ControlPlane, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    own = plane.pki / "admin"
    tls = ssl.create_default_context(cafile=str(own / "ca.crt"))
    tls.load_cert_chain(own / "tls.crt", own / "tls.key")
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session,
        session.request(method, plane.rest + path, json=body) as answer,
    ):
        return answer.status, await answer.json()


async def stored(plane: ControlPlane, name: str) -> bytes:
    own = plane.pki / "apiserver"
    async with Etcd(Endpoints((plane.etcd,), own / "ca.crt", own / "tls.crt", own / "tls.key")) as client:
        return bytes((await client.range(f"/registry/{name}".encode())).kvs[0].value)


@pytest.mark.parametrize("sort", ["aesgcm", "aescbc"])
async def test_secrets_are_sealed_by_the_first_key_and_read_by_all(tmp_path: Path, sort: str) -> None:
    pki, file = tmp_path / "pki", tmp_path / "encryption.yaml"
    write_certificates(pki)
    secret = {"metadata": {"name": "s"}, "stringData": {"password": "in the clear"}}
    async with etcd(tmp_path, pki) as url:
        async with apiserver(tmp_path, pki, url) as plane:  # as it was before anybody thought of encryption
            assert (await call(plane, "POST", SECRETS, secret))[0] == 201
            assert b'"kind":"Secret"' in await stored(plane, "secrets/default/s")
        async with apiserver(
            tmp_path, pki, url, configuration(file, key("first", FIRST, sort), "identity: {}")
        ) as plane:
            _, seen = await call(plane, "GET", f"{SECRETS}/s")
            assert (await call(plane, "PUT", f"{SECRETS}/s", seen))[0] == 200  # unchanged, and yet written
            assert (await stored(plane, "secrets/default/s")).startswith(f"k8s:enc:{sort}:v1:first:".encode())
            assert (await call(plane, "GET", f"{SECRETS}/s"))[1]["data"] == seen["data"]
            await call(plane, "POST", MAPS, {"metadata": {"name": "m"}, "data": {"a": "b"}})
            assert (await stored(plane, "configmaps/default/m")).startswith(b"{")
        both = configuration(file, key("second", SECOND, sort), key("first", FIRST, sort))
        async with apiserver(tmp_path, pki, url, both) as plane:
            _, listing = await call(plane, "GET", SECRETS)
            assert [item["data"] for item in listing["items"]] == [seen["data"]]
            _, changed = await call(
                plane, "PUT", f"{SECRETS}/s", {**seen, "data": {"a": "Yg=="}, "metadata": {"name": "s"}}
            )
            assert (await stored(plane, "secrets/default/s")).startswith(f"k8s:enc:{sort}:v1:second:".encode())
            assert changed["data"] == {"a": "Yg=="}


async def test_a_key_that_does_not_fit_is_an_error_and_not_an_empty_list(tmp_path: Path) -> None:
    pki, file = tmp_path / "pki", tmp_path / "encryption.yaml"
    write_certificates(pki)
    async with etcd(tmp_path, pki) as url:
        async with apiserver(tmp_path, pki, url, configuration(file, key("one", FIRST))) as plane:
            await call(plane, "POST", SECRETS, {"metadata": {"name": "s"}})
        async with apiserver(tmp_path, pki, url, configuration(file, key("one", SECOND), "identity: {}")) as plane:
            code, told = await call(plane, "GET", SECRETS)
            why = 'unable to transform key "/registry/secrets/default/s": cipher: message authentication failed'
            assert (code, told["message"]) == (500, f"Internal error occurred: {why}")
            assert (await call(plane, "GET", f"{SECRETS}/s"))[1]["message"].endswith(why)
            assert (await call(plane, "GET", f"{SECRETS}/other"))[0] == 404
            assert (await call(plane, "GET", MAPS))[0] == 200


async def test_one_secret_cannot_be_passed_off_as_another(tmp_path: Path) -> None:
    pki, file = tmp_path / "pki", tmp_path / "encryption.yaml"
    write_certificates(pki)
    async with (
        etcd(tmp_path, pki) as url,
        apiserver(tmp_path, pki, url, configuration(file, key("one", FIRST))) as plane,
    ):
        await call(plane, "POST", SECRETS, {"metadata": {"name": "mine"}})
        value = await stored(plane, "secrets/default/mine")
        own = pki / "apiserver"
        async with Etcd(Endpoints((url,), own / "ca.crt", own / "tls.crt", own / "tls.key")) as client:
            await client.put(b"/registry/secrets/default/theirs", value)
        code, told = await call(plane, "GET", f"{SECRETS}/theirs")
        assert (code, "message authentication failed" in told["message"]) == (500, True)
