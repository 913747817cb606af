"""A kubelet that asks for its own certificates, and an API server and controllers that grant them."""

import asyncio
import base64
import json
import ssl
import stat
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc

from api import meta
from api.types import (
    CertificateSigningRequest,
    CertificateSigningRequestCondition,
    ClusterRoleBinding,
    Lease,
    Node,
    ObjectMeta,
    RoleRef,
    Subject,
)
from machinery import kubeconfigs
from machinery.certificates import Authority
from machinery.certificates import Subject as Holder
from machinery.channels import channel
from machinery.client import Client
from machinery.kubeconfigs import Access
from machinery.pairs import Pair
from machinery.testing import ControlPlane, free_port
from tests.integration.processes import ADDRESS, controller_manager, kubelet, until

ROLE = "system:certificates.k8s.io:certificatesigningrequests"
KUBELET = "system:node:node1"


def kubeconfig(plane: ControlPlane, path: Path, holder: Holder) -> None:
    own = plane.pki / "controller-manager"
    pair = Authority(Pair((own / "ca.crt").read_bytes(), (own / "ca.key").read_bytes())).issue(holder)
    path.touch(0o600)
    path.write_text(kubeconfigs.dump(Access(plane.grpc, plane.access().ca, pair.certificate, pair.key), "t", "u"))


async def bind(client: Client, role: str, group: str) -> str:
    """The binding's name."""
    subject = Subject(kind="Group", apiGroup="rbac.authorization.k8s.io", name=group)
    ref = RoleRef(apiGroup="rbac.authorization.k8s.io", kind="ClusterRole", name=role)
    binding = ClusterRoleBinding(metadata=ObjectMeta(generateName="b-"), roleRef=ref, subjects=[subject])
    return (await client.create(binding)).metadata.name


async def decide(client: Client, request: CertificateSigningRequest, decision: str) -> None:
    new = meta.clone(request)
    new.status.conditions.append(CertificateSigningRequestCondition(type=decision, status="True", reason="Test"))
    await client.update(new, subresource="approval")


async def node_is_ready(client: Client) -> None:
    await until(client, Node, lambda nodes: any(meta.is_true(n, "Ready") for n in nodes))


def issued(requests: list[CertificateSigningRequest], asker: str) -> list[CertificateSigningRequest]:
    return [r for r in requests if r.spec.username == asker and r.status.certificate]


async def test_a_kubelet_goes_on_with_what_it_asked_for_and_needs_its_first_certificate_no_more(
    plane: ControlPlane, client: Client, tmp_path: Path
) -> None:
    """It begins as somebody else, so who asks tells which certificate it shows."""
    await bind(client, f"{ROLE}:selfnodeclient", "system:nodes")
    rights = await bind(client, "cluster-admin", "starters")
    begun, port = tmp_path / "begun.kubeconfig", free_port()
    kubeconfig(plane, begun, Holder("starter", ("starters",)))
    flags = ("--kubeconfig", str(begun), "--rotate-certificates", "--port", str(port))
    # Dated back by five minutes, so that most of its life is over at once, or within some seconds.
    short = ("--leader-elect=false", "--cluster-signing-duration=42s")
    async with controller_manager(plane, tmp_path, *short), kubelet(plane, tmp_path, *flags):
        requests = await until(client, CertificateSigningRequest, lambda r: len(issued(r, KUBELET)) > 1)
        [first] = issued(requests, "starter")
        await client.delete(ClusterRoleBinding, rights)
        [old] = (await client.list(Lease, "kube-node-lease")).items
        await client.delete(Lease, "node1", "kube-node-lease")
        await until(
            client, Lease, lambda found: any(new.metadata.uid != old.metadata.uid for new in found), "kube-node-lease"
        )
        assert "kubelet_certificate_manager_client_expiration_renew_errors" in await page(plane, port, "metrics")
        configured = json.loads(await page(plane, port, "configz"))["kubeletconfig"]
        assert (configured["rotateCertificates"], configured["serverTLSBootstrap"]) == (True, False)
    kept = tmp_path / "kubelet" / "pki" / "kubelet-client-current.pem"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert base64.b64decode(first.status.certificate) not in kept.read_bytes()
    assert "PRIVATE" not in (tmp_path / "kubelet.log").read_text()


async def page(plane: ControlPlane, port: int, name: str) -> str:
    own = plane.pki / "admin"
    context = ssl.create_default_context(cafile=str(own / "ca.crt"))
    context.load_cert_chain(own / "tls.crt", own / "tls.key")
    url = f"https://{ADDRESS}:{port}/{name}"
    async with aiohttp.ClientSession() as session, session.get(url, ssl=context) as answer:
        assert answer.status == 200
        return await answer.text()


async def test_a_kubelets_ports_open_when_somebody_has_approved_its_serving_certificate(
    plane: ControlPlane, client: Client, tmp_path: Path
) -> None:
    port, grpc_port = free_port(), free_port()
    flags = ("--rotate-server-certificates", "--port", str(port), "--grpc-port", str(grpc_port))
    async with controller_manager(plane, tmp_path), kubelet(plane, tmp_path, *flags):
        await node_is_ready(client)
        [request] = await until(client, CertificateSigningRequest, lambda requests: bool(requests))
        assert (request.spec.signerName, request.spec.username) == ("kubernetes.io/kubelet-serving", KUBELET)
        asked = x509.load_pem_x509_csr(base64.b64decode(request.spec.request))
        names = asked.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert [str(name.value) for name in names] == ["node1", ADDRESS]
        with pytest.raises(aiohttp.ClientConnectionError):
            await page(plane, port, "healthz")
        [request] = (await client.list(CertificateSigningRequest)).items
        assert request.status.conditions == []
        await decide(client, request, "Approved")
        own = plane.access()
        access = Access(f"https://{ADDRESS}:{grpc_port}", own.ca, own.certificate, own.key)
        async with channel(access) as opened, asyncio.timeout(30):
            health = health_pb2_grpc.HealthStub(opened)
            answer = await health.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        assert await page(plane, port, "healthz") == "ok"
        assert "kubelet_certificate_manager_server_ttl_seconds" in await page(plane, port, "metrics")
    async with kubelet(plane, tmp_path, *flags), channel(access) as opened, asyncio.timeout(30):
        await health_pb2_grpc.HealthStub(opened).Check(health_pb2.HealthCheckRequest(), wait_for_ready=True)
        assert len((await client.list(CertificateSigningRequest)).items) == 1


async def test_a_kubelet_gets_its_first_certificate_by_somebody_who_may_ask_for_nothing_else(
    plane: ControlPlane, client: Client, tmp_path: Path
) -> None:
    await bind(client, "system:node-bootstrapper", "system:bootstrappers")
    bootstrap, own = tmp_path / "bootstrap.kubeconfig", tmp_path / "own.kubeconfig"
    kubeconfig(plane, bootstrap, Holder("stranger", ("system:bootstrappers",)))
    flags = ("--kubeconfig", str(own), "--bootstrap-kubeconfig", str(bootstrap))
    async with controller_manager(plane, tmp_path):
        async with kubelet(plane, tmp_path, *flags):
            [request] = await until(client, CertificateSigningRequest, lambda requests: bool(requests))
        assert request.metadata.name.startswith("node-csr-")
        assert (request.spec.username, request.status.conditions, own.exists()) == ("stranger", [], False)
        async with kubelet(plane, tmp_path, *flags):
            await decide(client, request, "Approved")
            await node_is_ready(client)
        kept = tmp_path / "kubelet" / "pki" / "kubelet-client-current.pem"
        assert str(kept) in own.read_text()
        assert [file.name for file in kept.parent.iterdir()] == [kept.name]
        await client.delete(Node, "node1")
        bootstrap.unlink()
        async with kubelet(plane, tmp_path, *flags, "--rotate-certificates"):
            await node_is_ready(client)
        assert len((await client.list(CertificateSigningRequest)).items) == 1
        # With nodeclient nobody needs to approve; a kubeconfig whose certificate is not there asks again.
        kubeconfig(plane, bootstrap, Holder("stranger", ("system:bootstrappers",)))
        kept.unlink()
        await bind(client, f"{ROLE}:nodeclient", "system:bootstrappers")
        await client.delete(Node, "node1")
        async with kubelet(plane, tmp_path, *flags, "--rotate-certificates"):
            await node_is_ready(client)
        messages = {r.status.conditions[0].message for r in (await client.list(CertificateSigningRequest)).items}
        assert "Auto approving kubelet client certificate after SubjectAccessReview." in messages


async def test_a_kubelet_whose_first_certificate_is_denied_says_so_and_ends(
    plane: ControlPlane, client: Client, tmp_path: Path
) -> None:
    bootstrap = tmp_path / "bootstrap.kubeconfig"
    kubeconfig(plane, bootstrap, Holder("stranger", ("system:bootstrappers",)))
    await bind(client, "system:node-bootstrapper", "system:bootstrappers")
    flags = ("--kubeconfig", str(tmp_path / "own.kubeconfig"), "--bootstrap-kubeconfig", str(bootstrap))
    async with kubelet(plane, tmp_path, *flags) as process:
        [request] = await until(client, CertificateSigningRequest, lambda requests: bool(requests))
        await decide(client, request, "Denied")
        async with asyncio.timeout(30):
            assert await process.wait() == 1
    why = "cannot go on: a client certificate is needed: certificate signing request is denied, reason: Test, message: "
    assert why in (tmp_path / "kubelet.log").read_text()
