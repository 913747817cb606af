import asyncio
import ssl
from contextlib import asynccontextmanager

import aiohttp
import pytest

from machinery.controllers import Controller
from machinery.measuring import Queues, leadership
from machinery.metrics import Counter, Exposition
from machinery.monitoring import Monitor
from machinery.running import CannotGoOn
from machinery.serving import Files
from machinery.testing import write_certificates


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    directory = tmp_path_factory.mktemp("pki")
    write_certificates(directory)
    return directory


def files(pki):
    own = pki / "controller-manager"
    return Files(own / "tls.crt", own / "tls.key", own / "ca.crt")


@asynccontextmanager
async def monitored(pki, exposition=None, **options):
    monitor = Monitor("127.0.0.1:0", files(pki), exposition or Exposition(), **options)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(monitor.run())
        yield f"https://127.0.0.1:{await monitor.bound()}"
        running.cancel()


async def ask(pki, url, who="", *, method="GET"):
    context = ssl.create_default_context(cafile=str(pki / "admin" / "ca.crt"))
    if who:
        context.load_cert_chain(pki / who / "tls.crt", pki / who / "tls.key")
    connector = aiohttp.TCPConnector(ssl=context, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session, session.request(method, url) as answer:
        return answer.status, await answer.text()


async def test_health_is_told_to_everybody(pki):
    async with monitored(pki) as url:
        for path in ("/healthz", "/livez", "/readyz"):
            assert await ask(pki, url + path) == (200, "ok")
        assert (await ask(pki, f"{url}/healthz?verbose"))[1] == "[+]ping ok\nhealthz check passed\n"


async def test_who_is_not_well_says_what_fails(pki):
    async with monitored(pki, checks={"informers": lambda: False}) as url:
        assert await ask(pki, f"{url}/healthz") == (
            500, "[+]ping ok\n[-]informers failed: reason withheld\nhealthz check failed\n"
        )  # fmt: skip


async def test_what_is_alive_need_not_be_ready_yet(pki):
    async with monitored(pki, readiness={"informer-sync": lambda: False}) as url:
        assert (await ask(pki, f"{url}/livez"))[0] == 200
        assert await ask(pki, f"{url}/readyz") == (
            500, "[+]ping ok\n[-]informer-sync failed: reason withheld\nreadyz check failed\n"
        )  # fmt: skip


async def test_the_configuration_is_told_to_those_who_may_see_metrics(pki):
    async with monitored(pki, configuration=b'{"a": 1}') as url:
        assert await ask(pki, f"{url}/configz", "admin") == (200, '{"a": 1}')
        assert (await ask(pki, f"{url}/configz", "node1-kubelet"))[0] == 403


async def test_metrics_are_for_those_who_are_allowed_to_see_them(pki):
    counter = Counter("wishes", "Wishes that were granted")
    counter.add()
    async with monitored(pki, Exposition([counter]), allowed=("system:kube-scheduler",)) as url:
        for who in ("admin", "scheduler"):  # one of system:masters, and one that is named
            status, text = await ask(pki, f"{url}/metrics", who)
            assert status == 200
            assert "wishes_total 1.0" in text
        assert (await ask(pki, f"{url}/metrics", "node1-kubelet"))[0] == 403
        assert await ask(pki, f"{url}/metrics") == (401, "Unauthorized\n")


async def test_nothing_else_is_served(pki):
    async with monitored(pki) as url:
        assert (await ask(pki, f"{url}/debug", "admin"))[0] == 404
        assert (await ask(pki, f"{url}/metrics", "admin", method="POST"))[0] == 405


async def test_a_port_that_is_taken_ends_the_component_with_a_reason(pki):
    async with monitored(pki) as url:
        address = url.removeprefix("https://")
        with pytest.raises(CannotGoOn, match="cannot listen on"):
            await Monitor(address, files(pki), Exposition()).run()


async def test_work_queues_are_counted_under_their_controllers_names():
    async def reconcile(key):
        if key == "bad":
            raise ValueError(key)

    controller, queues = Controller("painter", reconcile), Queues()
    queues.follow([controller])
    for key in ("good", "bad", "good", "late"):
        controller.queue.add(key)
    await controller.step()
    await controller.step()
    _, text = Exposition([*queues.collectors, leadership("painters", lambda: True)]).render()
    controller.queue.close()
    for line in (
        'workqueue_adds_total{name="painter"} 3.0', 'workqueue_retries_total{name="painter"} 1.0',
        'workqueue_depth{name="painter"} 1.0', 'workqueue_queue_duration_seconds_count{name="painter"} 2.0',
        'workqueue_work_duration_seconds_count{name="painter"} 2.0',
        'workqueue_unfinished_work_seconds{name="painter"} 0.0', 'leader_election_master_status{name="painters"} 1.0',
    ):  # fmt: skip
        assert line in text.decode()
