"""A rolling restart of everything, while clients outside and inside of the cluster go on, and count what goes wrong.

Clients try again as kubectl and client-go do: what was never sent, what a server refused with Retry-After, and reads.
A write whose connection breaks before its answer is a failure: nobody knows whether it was done. One for which the API
server says that it does not know, since etcd did not answer it, is counted apart.
"""

import asyncio
import itertools
import json
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import docker

from api import errors
from api.types import ConfigMap, ObjectMeta
from machinery.client import Client, connect
from machinery.informers import Informer
from tests.chaos.faults.parts import NODES
from tests.chaos.faults.processes import DNS
from wherry import masters
from wherry.images import TAG
from wherry.kubectl import Kubectl
from wherry.labs import Lab, node_names

SPACE = "rolling"
PATH = f"/api/v1/namespaces/{SPACE}/configmaps"
MANIFESTS = Path(__file__).with_name("rolling.yaml")
INSIDE = Path(__file__).with_name("inside.py")
WRITERS = 5
"""Outside and inside: each has one request under way."""
PATIENCE = 20
LAST = "last"
PAUSE = 0.02
"""Seconds between two looks, or two attempts."""
GRACE, WELL_WITHIN = 30, 120
"""Seconds that a component has to end what is under way, as a pod would have, and to be back. A busy machine needs
them; what counts is what clients see meanwhile."""


@dataclass(slots=True)
class Tally:
    done: Counter[str] = field(default_factory=Counter)
    again: Counter[str] = field(default_factory=Counter)
    """Attempts that may be repeated, and were."""
    unknown: list[str] = field(default_factory=list)
    """Writes of which nobody knows whether they were done; each begins with what was being restarted when they began."""
    failures: list[str] = field(default_factory=list)
    restarting: str = ""

    @contextmanager
    def request(self) -> Iterator[None]:
        """What is refused after seconds is told as of what was being restarted before."""
        began = self.restarting
        try:
            yield
        except Exception as e:
            e.add_note(began)
            raise

    def failed(self, who: str, error: Exception) -> None:
        told = self.unknown if isinstance(error, errors.UNANSWERED) else self.failures
        began, *_ = getattr(error, "__notes__", [self.restarting])
        told.append(f"{began}: {who}: {error!r}")


def parts() -> list[str]:
    """The services of compose.yaml in the order of an upgrade; the balancer is the lab's own way in."""
    control = itertools.chain(
        *(masters.names(part) for part in ("etcd", "apiserver", "controller-manager", "scheduler"))
    )
    return [*control, *DNS, *(f"{node}-{part}" for node in node_names(NODES) for part in ("kubelet", "kube-proxy"))]


def restart(lab: Lab, docker_engine: docker.DockerClient, service: str) -> float:
    """Returns when it does its work again; the seconds that it took."""
    began = time.monotonic()
    container = docker_engine.containers.get(lab.container(service))
    container.restart(timeout=GRACE)
    probe = container.attrs["Config"]["Healthcheck"]["Test"][1:]
    end = began + WELL_WITHIN
    while container.exec_run(probe)[0] != 0:
        if time.monotonic() > end:
            raise TimeoutError(f"{service} is not well again")
        time.sleep(PAUSE)
    if service.startswith("apiserver"):
        Kubectl(lab, "default").until(_has_three_servers, "endpoints", "kubernetes")
    return time.monotonic() - began


def _has_three_servers(found: dict[str, Any]) -> bool:
    subsets = found["kubernetes"]["subsets"] if "kubernetes" in found else []
    return sum(len(subset["addresses"]) for subset in subsets) == masters.SEVERAL["apiserver"]


# --- clients outside


class Rest:
    def __init__(self, session: aiohttp.ClientSession, tally: Tally) -> None:
        self._session, self._tally = session, tally

    async def press(self, number: int, stop: asyncio.Event) -> None:
        for n in itertools.count():
            if stop.is_set():
                return
            name = f"rest-{number}-{n}"
            try:
                made = await self._call("POST", PATH, {"metadata": {"name": name}, "data": {"n": "0"}})
                await self._call("PUT", f"{PATH}/{name}", made | {"data": {"n": "1"}})
                assert (await self._call("GET", f"{PATH}/{name}"))["data"] == {"n": "1"}
                assert name in {o["metadata"]["name"] for o in (await self._call("GET", PATH))["items"]}
                await self._call("DELETE", f"{PATH}/{name}")
            except (errors.ApiError, aiohttp.ClientError, Broken, TimeoutError, AssertionError) as e:
                self._tally.failed(f"REST {name}", e)

    async def _call(self, method: str, path: str, body: Any = None) -> Any:
        with self._tally.request():
            return await self._answer(method, path, body)

    async def _answer(self, method: str, path: str, body: Any) -> Any:
        while True:
            try:
                async with self._session.request(method, path, json=body) as answer:
                    told = await answer.json()
                    if answer.status < 300:
                        self._tally.done[f"REST {method}"] += 1
                        return told
                    if method != "GET" and "Retry-After" not in answer.headers:
                        raise errors.from_status(told)
                    if answer.status not in (429, 503, 504):
                        raise errors.from_status(told)
            except aiohttp.ClientConnectorError:
                pass  # nothing was sent
            except Broken:
                if method != "GET":
                    raise
            self._tally.again[f"REST {method}"] += 1
            await asyncio.sleep(PAUSE)

    async def watch(self, stop: asyncio.Event) -> None:
        """Every watch that has begun must end in good order, and be followed by another one."""
        since = ""
        while not stop.is_set():
            since = since or (await self._call("GET", PATH))["metadata"]["resourceVersion"]
            try:
                since = await self._follow(since, stop)
            except (aiohttp.ClientConnectorError, Broken):  # it had not begun: a read, like others
                self._tally.again["REST watch"] += 1
                await asyncio.sleep(PAUSE)
            except aiohttp.ClientError as e:
                self._tally.failed("REST watch", e)

    async def _follow(self, since: str, stop: asyncio.Event) -> str:
        asked = {"watch": "1", "resourceVersion": since, "allowWatchBookmarks": "true", "timeoutSeconds": "5"}
        async with self._session.get(PATH, params=asked) as answer:
            async for line in answer.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    assert event["object"]["code"] == 410, event
                    self._tally.done["REST watch forgotten"] += 1
                    return ""
                since = event["object"]["metadata"]["resourceVersion"]
                if stop.is_set():
                    break
        self._tally.done["REST watch"] += 1
        return since


class Broken(Exception):
    """The connection ended before the answer, after the request."""


async def _once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """The library would send a PUT and a DELETE again when the connection is lost, and tell only of the second."""
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as e:
        raise Broken(repr(e)) from e


@asynccontextmanager
async def rest(lab: Lab, tally: Tally) -> AsyncIterator[Rest]:
    own = lab.pki / "admin"
    tls = ssl.create_default_context(cafile=str(own / "ca.crt"))
    tls.load_cert_chain(own / "tls.crt", own / "tls.key")
    async with aiohttp.ClientSession(
        base_url=f"https://127.0.0.1:{lab.api_port}", connector=aiohttp.TCPConnector(ssl=tls),
        timeout=aiohttp.ClientTimeout(PATIENCE), middlewares=[_once],
    ) as session:  # fmt: skip
        yield Rest(session, tally)


async def press_grpc(client: Client, tally: Tally, number: int, stop: asyncio.Event) -> None:
    for n in itertools.count():
        if stop.is_set():
            return
        name = f"grpc-{number}-{n}"
        try:
            async with asyncio.timeout(PATIENCE):
                new = ConfigMap(metadata=ObjectMeta(name=name, namespace=SPACE), data={"n": "0"})
                with tally.request():
                    made = await client.create(new)
                made.data["n"] = "1"
                with tally.request():
                    await client.update(made)
                with tally.request():
                    assert (await client.get(ConfigMap, name, SPACE)).data == {"n": "1"}
                with tally.request():
                    await client.delete(ConfigMap, name, SPACE)
            tally.done["gRPC"] += 4
        except (errors.ApiError, TimeoutError, AssertionError) as e:
            tally.failed(f"gRPC {name}", e)


# --- all of it


def prepare(lab: Lab) -> Kubectl:
    """The workload, and the client inside of the cluster, once they work."""
    kubectl = Kubectl(lab, SPACE)
    Kubectl(lab)("apply", "-f", str(MANIFESTS))
    kubectl("create", "configmap", "inside", f"--from-file={INSIDE}")
    kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=30s")
    pod = MANIFESTS.with_name("inside.yaml").read_text().replace("IMAGE", f"wherry/component:{TAG}")
    kubectl("apply", "-f", "-", stdin=pod)
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    kubectl("wait", "--for=condition=Ready", "pod/inside", "--timeout=60s")
    return kubectl


async def roll(lab: Lab, docker_engine: docker.DockerClient) -> tuple[Tally, dict[str, Any], dict[str, float]]:
    """What clients outside have counted, what the one inside has, and the seconds that each restart took."""
    tally, stop, took = Tally(), asyncio.Event(), {}
    kubectl = await asyncio.to_thread(prepare, lab)
    async with rest(lab, tally) as outside, connect(lab.grpc_kubeconfig) as client, asyncio.TaskGroup() as tasks:
        informer, seen = Informer(client, ConfigMap, SPACE), asyncio.Event()
        informer.on_change(lambda _, new: seen.set() if new is not None and new.metadata.name == LAST else None)
        watching = tasks.create_task(informer.run())
        pressing = [tasks.create_task(outside.press(n, stop)) for n in range(2)]
        pressing += [tasks.create_task(press_grpc(client, tally, n, stop)) for n in range(2)]
        pressing.append(tasks.create_task(outside.watch(stop)))
        for service in parts():
            tally.restarting = service
            took[service] = await asyncio.to_thread(restart, lab, docker_engine, service)
            print(f"{service:22} {took[service]:.1f} s  {tally.failures[-1:]}", flush=True)
        stop.set()
        await asyncio.gather(*pressing)
        await client.create(ConfigMap(metadata=ObjectMeta(name=LAST, namespace=SPACE)))
        async with asyncio.timeout(PATIENCE):
            await seen.wait()
        if of_outside(informer.list()) != of_outside((await client.list(ConfigMap, SPACE)).items):
            tally.failures.append("the informer's view is not what there is")
        watching.cancel()
    return tally, await asyncio.to_thread(_inside, kubectl), took


def of_outside(found: Iterable[ConfigMap]) -> dict[str, ConfigMap]:
    """By name. The pod inside goes on writing its own, so that two looks at those differ."""
    return {o.metadata.name: o for o in found if not o.metadata.name.startswith("inside-")}


def _inside(kubectl: Kubectl) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(kubectl("logs", "inside", "--tail=1"))
    return told


def reported(tally: Tally, inside: dict[str, Any], took: dict[str, float]) -> Iterator[str]:
    yield f"outside: {dict(tally.done)}, tried again: {dict(tally.again)}, unknown: {tally.unknown}"
    yield f"inside: {inside}"
    yield f"slowest restarts: {sorted(took.items(), key=lambda each: -each[1])[:4]}, in all {sum(took.values()):.0f} s"
    yield from tally.failures
