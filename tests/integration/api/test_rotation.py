"""An API server whose files are replaced while clients watch: certificates, authorities, the keys of tokens."""

import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
import pytest_asyncio
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc

from api import errors
from api.types import ConfigMap, ObjectMeta, SelfSubjectReview
from machinery import kubeconfigs
from machinery.certificates import Authority, signing_pair
from machinery.channels import channel
from machinery.client import connect
from machinery.kubeconfigs import Access
from machinery.pairs import Pair
from machinery.testing import FRONT_PROXY, SUBJECTS, ControlPlane, apiserver, etcd, free_port, write_certificates

from .people import person

WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
ACCOUNT = "/api/v1/namespaces/default/serviceaccounts"


class Scene(NamedTuple):
    plane: ControlPlane
    place: Path
    token_port: int
    old: Authority
    new: Authority

    @property
    def server(self) -> Path:
        return self.plane.pki / "apiserver"

    def replace(self, name: str, content: bytes) -> None:
        partial = self.server / f".{name}"
        partial.write_bytes(content)
        partial.replace(self.server / name)

    def serve(self, authority: Authority, *trusted: Authority) -> int:
        """The serial number of the certificate that the server has from now on."""
        pair = authority.issue(SUBJECTS["apiserver"])
        self.replace("ca.crt", b"".join(each.pair.certificate for each in trusted))
        self.replace("tls.key", pair.key)
        self.replace("tls.crt", pair.certificate)
        return x509.load_pem_x509_certificate(pair.certificate).serial_number

    def call(self, kubeconfig: Path, authority: Authority, *trusted: Authority) -> None:
        pair = authority.issue(SUBJECTS["admin"])
        bundle = b"".join(each.pair.certificate for each in trusted)
        access = Access(self.plane.grpc, bundle, pair.certificate, pair.key)
        partial = kubeconfig.with_suffix(".partial")
        partial.write_text(kubeconfigs.dump(access, "test", "admin"))
        partial.replace(kubeconfig)

    def shown(self) -> list[int]:
        """The serial numbers that the three ports show."""
        addresses = [self.plane.rest, self.plane.grpc, f":{self.token_port}"]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2", "http/1.1"])
        found = []
        for address in addresses:
            connection = socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), 5)
            with context.wrap_socket(connection) as tls:
                told = tls.getpeercert(True)
            assert told is not None
            found.append(x509.load_der_x509_certificate(told).serial_number)
        return found

    def by_token(self, token: str) -> Access:
        return Access(f"https://127.0.0.1:{self.token_port}", (self.server / "ca.crt").read_bytes(), b"", b"", token)


@pytest_asyncio.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    pki, port = tmp_path / "pki", free_port()
    write_certificates(pki)
    own = pki / "apiserver"
    # etcd keeps its own authority: it reads by whom its clients must be only once.
    for name in ("ca.crt", "tls.crt", "tls.key"):
        shutil.copy(own / name, own / f"etcd-{name}")
    (own / "sa.pub").write_bytes((own / "sa.key").read_bytes())
    flags = (
        "--etcd-cafile", str(own / "etcd-ca.crt"), "--etcd-certfile", str(own / "etcd-tls.crt"), "--etcd-keyfile",
        str(own / "etcd-tls.key"), "--grpc-token-port", str(port), "--service-account-key-file", str(own / "sa.pub"),
    )  # fmt: skip
    old = Authority(Pair((own / "ca.crt").read_bytes(), (pki / "controller-manager" / "ca.key").read_bytes()))
    async with etcd(tmp_path, pki) as url, apiserver(tmp_path, pki, url, *flags) as plane:
        yield Scene(plane, tmp_path, port, old, Authority.create("new"))


async def test_an_authority_is_rolled_over_while_clients_watch(scene: Scene) -> None:
    old, new, kubeconfig = scene.old, scene.new, scene.place / "kubeconfig"
    scene.call(kubeconfig, old, old)
    async with connect(kubeconfig) as client, person(scene.plane, "scheduler") as scheduler:
        assert (await scheduler("POST", WHO, {})).code == 201
        begun = (await client.list(ConfigMap, "default")).resource_version
        watch = client.watch(ConfigMap, "default", resource_version=begun)
        for name, server, trusted, caller in (
            ("before", old, [old], old), ("both", old, [old, new], old), ("switched", new, [new, old], new),
            ("after", new, [new], new),
        ):  # fmt: skip
            serial = scene.serve(server, *trusted)
            scene.call(kubeconfig, caller, *trusted)
            assert scene.shown() == [serial] * 3
            await client.create(ConfigMap(metadata=ObjectMeta(name=name, namespace="default")))
            assert [event.object.metadata.name for event in await anext(watch)] == [name]
        await watch.aclose()
        # Its connection is the one of the beginning, its certificate has an issuer whom nobody knows any more.
        assert (await scheduler("POST", WHO, {})).code == 401
    own = scene.plane.pki / "admin"
    async with channel(Access(scene.plane.grpc, new.pair.certificate, (own / "tls.crt").read_bytes(), (own / "tls.key").read_bytes())) as late:  # fmt: skip
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await health_pb2_grpc.HealthStub(late).Check(health_pb2.HealthCheckRequest())
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_a_stream_of_operations_ends_with_the_trust_in_its_certificate(scene: Scene) -> None:
    async with connect(scene.plane.access()) as client:
        await client.create(SelfSubjectReview())
        scene.serve(scene.new, scene.new)
        with pytest.raises(errors.Unauthorized):
            await client.create(SelfSubjectReview())


async def test_a_stream_of_operations_ends_with_its_token(scene: Scene) -> None:
    async with person(scene.plane, "admin") as admin:
        token = await issued(admin, "robot")
        async with connect(scene.by_token(token)) as robot:
            found = await robot.create(SelfSubjectReview())
            assert found.status.userInfo is not None
            assert found.status.userInfo.username == "system:serviceaccount:default:robot"
            assert (await admin("DELETE", f"{ACCOUNT}/robot")).code == 200
            with pytest.raises(errors.Unauthorized):
                await robot.create(SelfSubjectReview())


async def test_a_new_key_signs_tokens_and_the_old_one_verifies_until_it_is_taken_out(scene: Scene) -> None:
    new = signing_pair()
    async with person(scene.plane, "admin") as admin, person(scene.plane) as nobody:

        async def good(token: str) -> bool:
            return bool((await nobody("POST", WHO, {}, Authorization=f"Bearer {token}")).code == 201)

        async def published() -> int:
            return len((await admin("GET", "/openid/v1/jwks")).body["keys"])

        first = await issued(admin, "first")
        assert (await good(first), await published()) == (True, 1)
        scene.replace("sa.pub", new.public + (scene.server / "sa.pub").read_bytes())
        scene.replace("sa.key", new.private)
        second = await issued(admin, "second")
        assert [await good(first), await good(second), await published()] == [True, True, 2]
        scene.replace("sa.pub", new.public)
        assert [await good(first), await good(second), await published()] == [False, True, 1]


async def test_the_front_proxies_authority_is_replaced(scene: Scene) -> None:
    front = scene.plane.pki / "front-proxy"
    old = front / "tls.crt", front / "tls.key"
    claims = {"X_Remote_User": "jane", "X_Remote_Group": "dev"}
    async with person(scene.plane, pair=old) as proxy:
        assert (await proxy("POST", WHO, {}, **claims)).body["status"]["userInfo"]["username"] == "jane"
        other = Authority.create("proxies")
        pair = other.issue(SUBJECTS["admin"])
        (front / "ca.crt").write_bytes(other.pair.certificate)
        assert (await proxy("POST", WHO, {}, **claims)).code == 401
        assert SUBJECTS["admin"].user != FRONT_PROXY  # of the right authority, but with another name
        (scene.place / "other.crt").write_bytes(pair.certificate)
        (scene.place / "other.key").write_bytes(pair.key)
    async with person(scene.plane, pair=(scene.place / "other.crt", scene.place / "other.key")) as stranger:
        assert (await stranger("POST", WHO, {}, **claims)).code == 401


async def issued(admin: Any, account: str) -> str:
    await admin("POST", ACCOUNT, {"metadata": {"name": account}})
    answer = await admin("POST", f"{ACCOUNT}/{account}/token", {"spec": {}})
    return str(answer.body["status"]["token"])
