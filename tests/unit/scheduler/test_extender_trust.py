"""How the scheduler and an extender know each other: the TLS configuration of an extender."""

import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from machinery.running import CannotGoOn
from machinery.testing import write_certificates
from scheduler.advice import Failed
from scheduler.extender_documents import Extender, TLSConfig
from scheduler.webhooks import Webhook
from tests.unit.scheduler.objects import pod


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pki")
    write_certificates(directory)
    return directory / "controller-manager"


@pytest_asyncio.fixture
async def server(pki: Path) -> AsyncIterator[TestServer]:
    """Takes only those who show a certificate of the cluster's authority."""

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"NodeNames": ["n1"]})

    app = web.Application()
    app.router.add_post("/filter", answer)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=pki / "ca.crt")
    context.load_cert_chain(pki / "tls.crt", pki / "tls.key")
    context.verify_mode = ssl.CERT_REQUIRED
    server = TestServer(app, scheme="https")
    await server.start_server(ssl=context)
    yield server
    await server.close()


def data(path: Path) -> str:
    return b64encode(path.read_bytes()).decode()


async def ask(server: TestServer, **tls: Any) -> frozenset[str]:
    config = Extender(urlPrefix=str(server.make_url("")), filterVerb="filter", nodeCacheCapable=True, enableHTTPS=True)
    config.tlsConfig = TLSConfig(**tls)
    left, _, _ = await Webhook(config).filter(pod("a"), ["n1"], lambda name: None)
    return left


async def test_a_certificate_and_its_key_may_stand_in_the_configuration(server: TestServer, pki: Path) -> None:
    own = {"certData": data(pki / "tls.crt"), "keyData": data(pki / "tls.key"), "caData": data(pki / "ca.crt")}
    assert await ask(server, **own) == {"n1"}
    # What stands there outdoes files.
    assert await ask(server, **own, caFile="/nowhere", certFile="/nowhere", keyFile="/nowhere") == {"n1"}


async def test_a_certificate_and_its_key_may_be_files(server: TestServer, pki: Path) -> None:
    files = {"certFile": pki / "tls.crt", "keyFile": pki / "tls.key", "caFile": pki / "ca.crt"}
    assert await ask(server, **{name: str(path) for name, path in files.items()}) == {"n1"}


async def test_another_name_than_that_of_the_certificate_is_not_believed(server: TestServer, pki: Path) -> None:
    own = {"certData": data(pki / "tls.crt"), "keyData": data(pki / "tls.key"), "caData": data(pki / "ca.crt")}
    with pytest.raises(Failed, match="certificate"):
        await ask(server, **own, serverName="somebody.else")
    assert await ask(server, **own, serverName="localhost") == {"n1"}


@pytest.mark.parametrize(
    ("tls", "why"),
    [
        ({"insecure": True, "caData": "eA=="}, "specifying a root certificates file with the insecure flag"),
        ({"certData": "!"}, "cannot be used"),
        ({"certData": "eA==", "keyData": "eA=="}, "cannot be used"),
        ({"caFile": "/nowhere"}, "No such file"),
    ],
)
def test_a_configuration_of_no_use_is_refused_at_the_start(tls: dict[str, Any], why: str) -> None:
    with pytest.raises(CannotGoOn, match=why):
        Webhook(Extender(urlPrefix="https://127.0.0.1:1", enableHTTPS=True, tlsConfig=TLSConfig(**tls)))
