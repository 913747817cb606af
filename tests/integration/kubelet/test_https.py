"""The kubelet's HTTPS port: who sees it, by itself and through the API server."""

import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from api.types import (
    ClusterRole,
    ClusterRoleBinding,
    Node,
    ObjectMeta,
    Pod,
    PolicyRule,
    RoleRef,
    ServiceAccount,
    Subject,
    TokenRequest,
    TokenRequestSpec,
)
from machinery.certificates import Authority
from machinery.certificates import Subject as Holder
from machinery.client import Client, connect
from machinery.testing import ControlPlane, control_plane
from tests.integration.processes import kubelet, until


async def ask(plane: ControlPlane, url: str, *, who: str = "", token: str = "") -> tuple[int, str]:
    """With the certificate of a component, or a token."""
    context = ssl.create_default_context(cafile=str(plane.pki / "admin" / "ca.crt"))
    if who:
        context.load_cert_chain(plane.pki / who / "tls.crt", plane.pki / who / "tls.key")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession() as session, session.get(url, ssl=context, headers=headers) as answer:
        return answer.status, await answer.text()


async def asked(lab: Any, path: str, **shown: str) -> tuple[int, str]:
    return await ask(lab.plane, f"https://127.0.0.1:{lab.port}{path}", **shown)


async def token_of_somebody_who_may(client: Client, name: str, *subresources: str) -> str:
    await client.create(ServiceAccount(metadata=ObjectMeta(name=name, namespace="default")))
    if subresources:
        resources = [f"nodes/{s}" for s in subresources]
        rule = PolicyRule(apiGroups=[""], resources=resources, verbs=["get"])
        await client.create(ClusterRole(metadata=ObjectMeta(name=name), rules=[rule]))
        role = RoleRef(apiGroup="rbac.authorization.k8s.io", kind="ClusterRole", name=name)
        subject = Subject(kind="ServiceAccount", name=name, namespace="default")
        await client.create(ClusterRoleBinding(metadata=ObjectMeta(name=name), roleRef=role, subjects=[subject]))
    asked = TokenRequest(spec=TokenRequestSpec(audiences=[]))
    answer = await client.create_subresource(ServiceAccount, name, "default", "token", asked)
    return str(json.loads(answer)["status"]["token"])


async def test_the_port_tells_only_those_who_may_see_it(lab: Any) -> None:
    async with lab.kubelet():
        assert await asked(lab, "/healthz") == (401, "Unauthorized")
        assert await asked(lab, "/healthz", who="admin") == (200, "ok")
        assert (await asked(lab, "/healthz/syncloop", who="admin"))[0] == 200
        assert await asked(lab, "/healthz", who="node1-kube-proxy") == (
            403, "Forbidden (user=system:kube-proxy, verb=get, resource=nodes, subresource(s)=[healthz proxy])\n",
        )  # fmt: skip
        token = await token_of_somebody_who_may(lab.client, "doctor", "healthz")
        assert await asked(lab, "/healthz", token=token) == (200, "ok")
        assert (await asked(lab, "/pods", token=token))[0] == 403
        nobody = await token_of_somebody_who_may(lab.client, "nobody")
        assert (await asked(lab, "/healthz", token=nobody))[0] == 403
        assert (await asked(lab, "/healthz", token="x"))[0] == 401


async def test_a_certificate_of_another_authority_opens_no_door(lab: Any) -> None:
    pair = Authority.create("another").issue(Holder("kubernetes-admin", ("system:masters",)))
    place = lab.plane.pki / "stranger"
    place.mkdir()
    (place / "tls.crt").write_bytes(pair.certificate)
    (place / "tls.key").write_bytes(pair.key)
    async with lab.kubelet():
        with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
            await asked(lab, "/healthz", who="stranger")


@pytest.fixture
async def cluster_of_one(tmp_path: Path) -> AsyncIterator[tuple[ControlPlane, Client]]:
    """A node that is reached at its address, which is this machine's; its runtime is simulated."""
    async with control_plane(tmp_path) as plane, connect(plane.access()) as client, kubelet(plane, tmp_path):
        name = ObjectMeta(name="default", namespace="default")
        await client.create(ServiceAccount(metadata=name, automountServiceAccountToken=False))
        [node] = await until(client, Node, bool)
        await client.patch(Node, node.metadata.name, "", {"spec": {"podCIDR": "10.244.1.0/24"}})
        yield plane, client


async def test_the_api_server_carries_to_it_and_finds_both_ports(
    cluster_of_one: tuple[ControlPlane, Client], pods: Any
) -> None:
    plane, client = cluster_of_one
    await client.create(pods("a"))
    await until(client, Pod, lambda found: [p.status.phase for p in found] == ["Running"])
    port = (await client.get(Node, "node1")).status.daemonEndpoints.kubeletEndpoint.Port
    for name in ("node1", f"node1:{port}", f"https:node1:{port}"):
        assert await ask(plane, f"{plane.rest}/api/v1/nodes/{name}/proxy/healthz", who="admin") == (200, "ok")
    for path in ("pods", "runningpods/"):
        status, body = await ask(plane, f"{plane.rest}/api/v1/nodes/node1/proxy/{path}", who="admin")
        listed = json.loads(body)
        assert (status, listed["kind"]) == (200, "PodList")
        assert [p["metadata"]["name"] for p in listed["items"]] == ["a"]
    log = f"{plane.rest}/api/v1/namespaces/default/pods/a/log"
    assert (await ask(plane, log, who="admin"))[0] == 200
    token = await token_of_somebody_who_may(client, "doctor", "healthz")
    assert (await ask(plane, f"{plane.rest}/api/v1/nodes/node1/proxy/healthz", token=token))[0] == 403
