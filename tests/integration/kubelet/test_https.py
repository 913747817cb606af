"""The kubelet's HTTPS port: who sees it, by itself and through the API server."""

import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from api import meta
from api.types import (
    ClusterRole,
    ClusterRoleBinding,
    EmptyDirVolumeSource,
    ExecAction,
    Node,
    ObjectMeta,
    Pod,
    PolicyRule,
    Probe,
    ResourceRequirements,
    RoleRef,
    ServiceAccount,
    Subject,
    TokenRequest,
    TokenRequestSpec,
    Volume,
    VolumeMount,
)
from machinery.certificates import Authority
from machinery.certificates import Subject as Holder
from machinery.client import Client, connect
from machinery.testing import ControlPlane, control_plane
from tests.integration.processes import kubelet, until


def is_ready(pod: Pod) -> bool:
    return meta.is_true(pod, "Ready")


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


async def test_what_pods_use_is_told_of_real_ones(lab: Any, pods: Any, containers: Any) -> None:
    cache = Volume(name="cache", emptyDir=EmptyDirVolumeSource())
    busy = containers(
        "busy", ["sh", "-c", "head -c 100000 /dev/zero > /cache/x; echo said; while :; do :; done"],
        volumeMounts=[VolumeMount(name="cache", mountPath="/cache")],
        resources=ResourceRequirements(limits={"memory": "64Mi", "cpu": "100m"}),
    )  # fmt: skip
    async with lab.kubelet():
        await lab.create(pods("a", containers(), busy, volumes=[cache]))
        await lab.until("a", is_ready)
        status, body = await asked(lab, "/stats/summary", who="admin")
        summary = json.loads(body)
        assert (status, summary["node"]["nodeName"]) == (200, "node1")
        [pod] = summary["pods"]
        assert (pod["podRef"]["name"], pod["podRef"]["namespace"]) == ("a", "default")
        assert [i["name"] for i in pod["network"]["interfaces"]] == ["eth0"]
        by_name = {c["name"]: c for c in pod["containers"]}
        assert set(by_name) == {"main", "busy"}
        # It may have a tenth of a processor, takes it, and no more.
        assert 20_000_000 < by_name["busy"]["cpu"]["usageNanoCores"] < 200_000_000
        assert by_name["busy"]["cpu"]["usageNanoCores"] > by_name["main"]["cpu"]["usageNanoCores"]
        memory = by_name["busy"]["memory"]
        assert 0 < memory["workingSetBytes"] <= memory["usageBytes"] < 64 * 2**20
        assert memory["availableBytes"] == 64 * 2**20 - memory["workingSetBytes"]
        assert {v["name"]: v["usedBytes"] >= 100_000 for v in pod["volume"]} == {"cache": True}
        assert pod["process_stats"]["process_count"] >= 3
        assert by_name["main"]["rootfs"]["usedBytes"] >= 0
        _, resource = await asked(lab, "/metrics/resource", who="admin")
        assert 'container_cpu_usage_seconds_total{container="busy",namespace="default",pod="a"}' in resource
        assert "resource_scrape_error 0.0" in resource
        _, cadvisor = await asked(lab, "/metrics/cadvisor", who="admin")
        throttled = [line for line in cadvisor.splitlines() if "throttled_periods_total" in line and '"busy"' in line]
        assert float(throttled[0].split()[-2]) > 0
        assert 'interface="eth0"' in cadvisor
        assert await asked(lab, "/containerLogs/default/a/busy", who="admin") == (200, "said\n")
        _, configz = await asked(lab, "/configz", who="admin")
        assert json.loads(configz)["kubeletconfig"]["port"] == lab.port
        assert (await asked(lab, "/logs/", who="admin"))[0] == 200


def has_failed(pod: Pod) -> bool:
    """Its container was tried and could not be started."""
    waiting = [s.state.waiting.reason for s in pod.status.containerStatuses if s.state.waiting is not None]
    return bool({"RunContainerError", "CrashLoopBackOff"} & set(waiting))


async def test_the_kubelet_counts_its_work(lab: Any, pods: Any, containers: Any) -> None:
    probe = Probe(exec=ExecAction(command=["true"]), periodSeconds=1)
    async with lab.kubelet():
        await lab.create(pods("a", containers(readinessProbe=probe)))
        await lab.create(pods("broken", containers(command=["/no/such/program"])))
        await lab.until("a", is_ready)
        await lab.until("broken", has_failed)
        found = told(await asked(lab, "/metrics", who="admin"))
        assert found["kubelet_node_name", "node=node1"] == 1
        assert found["kubelet_running_pods", ""] == found["kubelet_desired_pods", "static=false"] == 2
        assert found["kubelet_running_containers", "container_state=running"] == 1
        assert found["kubelet_started_pods_total", ""] == 2
        assert found["kubelet_started_containers_total", "container_type=container"] >= 2
        failed = "code=RunContainerError,container_type=container"
        assert found["kubelet_started_containers_errors_total", failed] >= 1
        assert found["kubelet_runtime_operations_total", "operation_type=start_container"] >= 4
        assert found["kubelet_runtime_operations_errors_total", "operation_type=start_container"] >= 1
        assert found["kubelet_pod_start_duration_seconds_count", ""] >= 1
        assert found["kubelet_pod_worker_duration_seconds_count", "operation_type=create"] >= 2
        assert any(name == "rest_client_requests_total" for name, _ in found)
        probed = told(await asked(lab, "/metrics/probes", who="admin"))
        [count] = [v for (name, labels), v in probed.items() if name == "prober_probe_total" and "successful" in labels]
        assert count >= 1


def told(answer: tuple[int, str]) -> dict[tuple[str, str], float]:
    """Samples by name and labels."""
    status, body = answer
    assert status == 200, body
    samples = [sample for family in text_string_to_metric_families(body) for sample in family.samples]
    return {(s.name, ",".join(f"{k}={v}" for k, v in sorted(s.labels.items()))): s.value for s in samples}
