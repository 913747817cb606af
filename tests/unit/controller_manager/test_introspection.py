"""The controller manager's own port, while no API server can be reached."""

import asyncio
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from controller_manager.catalogue import CONTROLLERS
from controller_manager.configs import Config
from controller_manager.running import run
from machinery import kubeconfigs
from machinery.channels import channel
from machinery.kubeconfigs import Access
from machinery.serving import Files
from machinery.testing import free_port, write_certificates
from proto import controllers_pb2 as pb
from proto.controllers_pb2_grpc import ControllersStub


@asynccontextmanager
async def manager(tmp_path: Path, **options: Any) -> AsyncIterator[Config]:
    write_certificates(tmp_path)
    own = tmp_path / "controller-manager"
    ca, certificate, key = (own / name for name in ("ca.crt", "tls.crt", "tls.key"))
    access = Access(
        f"https://127.0.0.1:{free_port()}", ca.read_bytes(), certificate.read_bytes(), key.read_bytes()
    )  # fmt: skip
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(kubeconfigs.dump(access, "test", "controller-manager"))
    config = Config(
        kubeconfig=kubeconfig, address=f"127.0.0.1:{free_port()}", tls=Files(certificate, key, ca), root_ca_file=ca,
        **options,
    )  # fmt: skip
    running = asyncio.create_task(run(config))
    try:
        yield config
    finally:
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


def ask(tmp_path: Path, config: Config, user: str = "admin") -> grpc.aio.Channel:
    own = tmp_path / user
    return channel(
        Access(
            f"https://{config.address}", (own / "ca.crt").read_bytes(), (own / "tls.crt").read_bytes(),
            (own / "tls.key").read_bytes(),
        )
    )  # fmt: skip


async def test_one_that_stands_by_is_healthy_and_says_so(tmp_path: Path) -> None:
    async with manager(tmp_path) as config, ask(tmp_path, config) as ch:
        health = health_pb2_grpc.HealthStub(ch)
        answer = await health.Check(health_pb2.HealthCheckRequest(service="wherry.v1.Controllers"), wait_for_ready=True)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        listed = await ControllersStub(ch).List(pb.ListControllersRequest())
        assert (listed.leading, list(listed.controllers)) == (False, [])
        with pytest.raises(grpc.aio.AioRpcError, match="another controller manager leads"):
            await ControllersStub(ch).Reconcile(pb.ReconcileRequest(controller="deployment-controller"))


async def test_one_that_leads_lists_its_controllers(tmp_path: Path) -> None:
    async with manager(tmp_path, leader_elect=False) as config, ask(tmp_path, config) as ch:
        listed = await ControllersStub(ch).List(pb.ListControllersRequest(), wait_for_ready=True)
        assert listed.leading
        assert {c.name for c in listed.controllers} == set(CONTROLLERS)
        with pytest.raises(grpc.aio.AioRpcError, match='there is no controller "nobody"'):
            await ControllersStub(ch).Reconcile(pb.ReconcileRequest(controller="nobody"))


async def test_other_users_may_not_ask(tmp_path: Path) -> None:
    async with manager(tmp_path) as config, ask(tmp_path, config, "scheduler") as ch:
        with pytest.raises(grpc.aio.AioRpcError, match="may not call this service"):
            await ControllersStub(ch).List(pb.ListControllersRequest(), wait_for_ready=True)


async def test_it_shows_metrics_where_a_flag_says_so(tmp_path: Path) -> None:
    port = free_port()
    async with manager(tmp_path, metrics_address=f"127.0.0.1:{port}", leader_elect=False):
        context = ssl.create_default_context(cafile=str(tmp_path / "admin" / "ca.crt"))
        context.load_cert_chain(tmp_path / "admin" / "tls.crt", tmp_path / "admin" / "tls.key")
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, force_close=True)) as session:
            text = ""
            async with asyncio.timeout(10):
                while 'rest_client_requests_total{code="503"' not in text:
                    with suppress(aiohttp.ClientConnectorError):
                        async with session.get(f"https://127.0.0.1:{port}/metrics") as answer:
                            text = await answer.text()
                    await asyncio.sleep(0)
    assert 'workqueue_depth{name="job-controller"} 0.0' in text
    assert "leader_election" not in text


def test_http_is_not_loaded_where_nobody_asks_for_metrics() -> None:
    script = "import sys, controller_manager.running; sys.exit('aiohttp' in sys.modules or 'prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
