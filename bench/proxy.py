"""kube_proxy: the kernel's way through a cluster IP, beside the direct one, and how soon a change is there.

The node, its pods and the machine outside are network namespaces that are made and removed here, with unreachable
routes for the pod and service ranges before the first packet; nothing leaves them. The API server that the proxy
listens to, and its etcd, stand on loopback.
"""

import asyncio
import gc
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from api import errors
from api.meta import Key
from api.types import (
    DiscoveryV1EndpointPort,
    Endpoint,
    EndpointConditions,
    EndpointSlice,
    Node,
    NodeAddress,
    NodeStatus,
    ObjectMeta,
    Pod,
    Service,
    ServiceCIDR,
    ServicePort,
    ServiceSpec,
)
from bench.results import Result, percentile, result
from kube_proxy import routes
from kube_proxy.health import Health
from kube_proxy.metrics import Metrics
from kube_proxy.nftables import Nftables
from kube_proxy.proxy import Proxy
from kube_proxy.rules import Elements, elements
from kube_proxy.services import SERVICE_NAME, Place, balanced
from kube_proxy.table import Table
from kube_proxy.transactions import Layout
from machinery.client import Client, connect
from machinery.clocks import SYSTEM
from machinery.informers import Informer
from machinery.testing import ControlPlane, control_plane
from tests.unit.kube_proxy.networks import NODE_IP, POD_RANGE, SERVICE_RANGE, Network, inside

NODE = "bench"
FEW, MANY, ENDPOINTS = 10, 10_000, 5
SERVER, CLIENT = "10.244.0.2", "10.244.0.3"
ROUNDS, SECONDS = 60, 0.15
SETUPS = 12
FIRSTS = 100
CREATING = 16
LAYOUT = Layout(SERVICE_RANGE, POD_RANGE)

SERVE = """
import socket, sys, threading
def sink(port):
    s = socket.create_server(("", port), backlog=4096)
    while True:
        c, _ = s.accept()
        threading.Thread(target=swallow, args=(c,), daemon=True).start()
def swallow(c):
    room = bytearray(1 << 20)
    while c.recv_into(room):
        pass
    c.sendall(b".")
    c.close()
def door(port):
    s = socket.create_server(("", port), backlog=4096)
    while True:
        c, _ = s.accept()
        c.close()
for port in (9001, 9002):
    threading.Thread(target=sink, args=(port,), daemon=True).start()
threading.Thread(target=door, args=(9003,), daemon=True).start()
print("serving", flush=True)
door(9004)
"""
# Each line of its input is one round: what, address, port, seconds.
ASK = """
import socket, struct, sys, time
def rates(amount, began, busy):
    return amount / (time.perf_counter() - began), amount / (time.process_time() - busy)
LINGER = struct.pack("ii", 1, 0)
def stream(to, seconds):
    block, sent = bytes(1 << 20), 0
    with socket.create_connection(to) as s:
        began, busy = time.perf_counter(), time.process_time()
        while time.perf_counter() - began < seconds:
            s.sendall(block)
            sent += len(block)
        s.shutdown(socket.SHUT_WR)
        s.recv(1)
        return rates(sent, began, busy)
def connections(to, seconds):
    made, began, busy = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
        s.connect(to)
        s.close()
        made += 1
    return rates(made, began, busy)
def setup(to, count):
    took = []
    for _ in range(int(count)):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
        began = time.perf_counter()
        s.connect(to)
        took.append(time.perf_counter() - began)
        s.close()
    return sorted(took)[len(took) // 2], sorted(took)[0]
def retransmitted():
    names, values = [line.split() for line in open("/proc/net/netstat") if line.startswith("TcpExt:")]
    return int(values[names.index("TCPSynRetrans")])
for line in sys.stdin:
    what, address, port, number = line.split()
    before = retransmitted()
    print(*globals()[what]((address, int(port)), float(number)), retransmitted() - before, flush=True)
"""


async def run() -> list[Result]:
    """Needs root, etcd, iproute2 and libnftables."""
    network = Network("kpb")
    try:
        server, client = network.pod(SERVER), network.pod(CLIENT)
        with _process(server, SERVE) as serving, _process(client, ASK) as asking:
            await asyncio.to_thread(serving.told)
            found = await asyncio.to_thread(_in_the_kernel, network, asking)
            found += await _first_packets(network, client)
        return found
    finally:
        network.close()


class Asking:
    """A process in a namespace, which is asked for one round at a time."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._to, self._from = process.stdin, process.stdout

    def told(self) -> str:
        """Its next line."""
        return self._from.readline()

    def __call__(self, what: str, address: str, port: int, number: float) -> tuple[float, float]:
        """A round's figures (see ASK). One in which a SYN was sent again tells nothing, and is repeated."""
        while True:
            self._to.write(f"{what} {address} {port} {number}\n")
            self._to.flush()
            value, other, again = self.told().split()
            if again == "0":
                return float(value), float(other)
            print(f"{again} SYNs were sent again to {address}:{port}", file=sys.stderr)


def _in_the_kernel(network: Network, ask: Asking) -> list[Result]:
    """With many services in the table: throughput, connections, set-up, and what a change costs."""
    with inside(network.node):
        kernel = Nftables()
        routes.ensure(SERVICE_RANGE, NODE_IP)
        try:
            table = Table(kernel, LAYOUT)
            table.apply(_content(FEW))
            few = [ask("setup", "10.96.0.1", 80, 2000)[0] for _ in range(SETUPS)]
            table.apply(_content(MANY))
            many = [ask("setup", "10.96.0.1", 80, 2000)[0] for _ in range(SETUPS)]
            through = _ratio(ask, "stream", ("10.96.0.1", 81), (SERVER, 9002))
            connects = _ratio(ask, "connections", ("10.96.0.1", 80), (SERVER, 9004))
            endpoint, service = _changes(table)
            return [
                result("proxy.throughput", through[0]),
                result("proxy.throughput.processor", through[1]),
                result("proxy.connections", connects[0]),
                result("proxy.connections.processor", connects[1]),
                result("proxy.setup.growth", statistics.median(many) / statistics.median(few)),
                result("proxy.change.endpoint", endpoint),
                result("proxy.change.service", service),
            ]
        finally:
            kernel.run("table ip kube-proxy\ndelete table ip kube-proxy")
            kernel.close()


def _ratio(ask: Asking, what: str, through: tuple[str, int], direct: tuple[str, int]) -> tuple[float, float]:
    """Through a service ÷ direct: by the clock, and by the client's processor time, in which nearly all of the kernel's
    way lies and nothing of what others do on the machine. Rounds in turns; which goes first, in turns too."""
    pairs = []
    for number in range(ROUNDS):
        first, second = (through, direct) if number % 2 else (direct, through)
        values = {first: ask(what, *first, SECONDS), second: ask(what, *second, SECONDS)}
        pairs.append([one / other for one, other in zip(values[through], values[direct], strict=True)])
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)


def _changes(table: Table) -> tuple[float, float]:
    """Seconds for another endpoint of a service, and for another service; thinking included."""
    endpoint, service = [], []
    for number in range(200):
        began = time.perf_counter()
        table.apply({_key(7): _elements(7, shift=number % 2 + 1)})
        endpoint.append(time.perf_counter() - began)
        began = time.perf_counter()
        table.apply({_key(MANY + number): _elements(MANY + number)})
        service.append(time.perf_counter() - began)
    return statistics.median(endpoint), statistics.median(service)


async def _first_packets(network: Network, client_pod: str) -> list[Result]:
    """With a real API server: from the write of a ready endpoint to the first connection that is answered."""
    async with _cluster() as (api, plane):
        found = {}
        for count, known in ((FEW, 0), (MANY, FEW)):
            await _create(api, (each for i in range(known + 1, count + 1) for each in _unplaced(i)))
            async with _proxy(network, plane) as started:
                found[count] = await _firsts(api, client_pod, count)
        few, many = found[FEW], found[MANY]
        return [
            result("proxy.first.p50", percentile(few, 0.5)),
            result("proxy.first.p99", percentile(few, 0.99)),
            result("proxy.first.growth", percentile(many, 0.5) / percentile(few, 0.5)),
            result("proxy.start", started[0]),
            result("proxy.start.processor", started[1]),
        ]


async def _firsts(api: Client, client_pod: str, count: int) -> list[float]:
    took, loop, asking = [], asyncio.get_running_loop(), ThreadPoolExecutor(1)
    for number in range(FIRSTS):
        service, slice_ = _unplaced(20_000 + count + number)
        made = await api.create(service)
        slice_.endpoints = slice_.endpoints[:1]
        began = time.perf_counter()
        await api.create(slice_)
        took.append(await loop.run_in_executor(asking, _answered, client_pod, made.spec.clusterIP, began))
        await api.delete(EndpointSlice, slice_.metadata.name, "default")
        await api.delete(Service, service.metadata.name, "default")
    return took


def _answered(client_pod: str, address: str, began: float) -> float:
    with inside(client_pod):
        while True:
            with socket.socket() as each:
                if each.connect_ex((address, 80)) == 0:
                    return time.perf_counter() - began
            time.sleep(0.0005)


@asynccontextmanager
async def _cluster() -> AsyncIterator[tuple[Client, ControlPlane]]:
    with TemporaryDirectory() as temporary:
        async with AsyncExitStack() as stack:
            plane = await stack.enter_async_context(control_plane(Path(temporary)))
            api = await stack.enter_async_context(connect(plane.access()))
            address = NodeAddress(type="InternalIP", address=NODE_IP)
            await api.create(Node(metadata=ObjectMeta(name=NODE)))
            await api.patch(Node, NODE, "", {"status": NodeStatus(addresses=[address])}, subresource="status")
            yield api, plane


@asynccontextmanager
async def _proxy(network: Network, plane: ControlPlane) -> AsyncIterator[tuple[float, float]]:
    """A proxy at work in the node's namespace; yields how long it took from nothing to all services, by the clock and
    in processor time.

    What it asks of the kernel it asks from threads, and a thread stays in the namespace of the one that started it.
    """
    with inside(network.node):
        kernel = Nftables()
        workers = ThreadPoolExecutor(1)
        workers.submit(int).result()
    asyncio.get_running_loop().set_default_executor(workers)
    try:
        async with connect(plane.access()) as api, asyncio.TaskGroup() as tasks:
            told = (
                Informer(api, Service), Informer(api, EndpointSlice), Informer(api, Node), Informer(api, Pod),
                Informer(api, ServiceCIDR),
            )  # fmt: skip
            done = Done()
            proxy = Proxy(
                *told, Table(kernel, LAYOUT), node=NODE, service_range=SERVICE_RANGE, readiness=done,
                metrics=Metrics(SYSTEM.now),
            )  # fmt: skip
            gc.collect()
            began, busy = time.perf_counter(), time.process_time()
            running = [tasks.create_task(each.run()) for each in (*told, proxy)]
            await done.event.wait()
            yield time.perf_counter() - began, time.process_time() - busy
            for task in running:
                task.cancel()
    finally:
        kernel.run("table ip kube-proxy\ndelete table ip kube-proxy")
        kernel.close()


class Done(Health):
    """Tells when everything is programmed for the first time."""

    def __init__(self) -> None:
        super().__init__(SYSTEM)
        self.event = asyncio.Event()

    def ready(self, is_ready: bool = True) -> None:
        super().ready(is_ready)
        if is_ready:
            self.event.set()


async def _create(api: Client, objects: Iterable[Service | EndpointSlice]) -> None:
    waiting = iter(objects)

    async def create() -> None:
        for each in waiting:
            while True:
                try:
                    await api.create(each)
                    break
                except errors.Timeout:
                    continue  # the server's cache is behind on a machine that others use too

    async with asyncio.TaskGroup() as tasks:
        for _ in range(CREATING):
            tasks.create_task(create())


@contextmanager
def _process(namespace: str, script: str) -> Iterator[Asking]:
    command = ["ip", "netns", "exec", namespace, sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Asking(process)
        finally:
            process.kill()


def _content(count: int) -> dict[Key, Elements]:
    """The first service is the one that is asked: a single endpoint, which answers."""
    first = [
        *elements_of(_service(1), _slice(1, [SERVER], 9003)).items(),
        *elements_of(_service(1, port=81), _slice(1, [SERVER], 9001)).items(),
    ]
    return {_key(1): dict(first)} | {_key(i): _elements(i) for i in range(2, count + 1)}


def _elements(number: int, shift: int = 0) -> Elements:
    return elements_of(*_objects(number, shift))


def elements_of(service: Service, slice_: EndpointSlice) -> Elements:
    found: Elements = {}
    for port in balanced(service, [slice_], Place(NODE)):
        found |= elements(port)
    return found


def _key(number: int) -> Key:
    return Key("default", f"s{number}")


def _objects(number: int, shift: int = 0) -> tuple[Service, EndpointSlice]:
    others = [
        f"10.244.{1 + (number + i + shift) // 250 % 250}.{(number + i + shift) % 250 + 1}" for i in range(ENDPOINTS)
    ]
    return _service(number), _slice(number, [SERVER, *others[1:]] if number >= 20_000 else others, 9003)


def _unplaced(number: int) -> tuple[Service, EndpointSlice]:
    """The API server gives it its address."""
    service, slice_ = _objects(number)
    service.spec.clusterIP, service.spec.clusterIPs = "", []
    return service, slice_


def _service(number: int, port: int = 80) -> Service:
    address = f"10.96.{number // 250}.{number % 250}"
    return Service(
        metadata=ObjectMeta(name=f"s{number}", namespace="default"),
        spec=ServiceSpec(
            type="ClusterIP", clusterIP=address, clusterIPs=[address],
            ports=[ServicePort(port=port, protocol="TCP")],
        ),
    )  # fmt: skip


def _slice(number: int, addresses: list[str], port: int) -> EndpointSlice:
    ready = EndpointConditions(ready=True, serving=True, terminating=False)
    return EndpointSlice(
        metadata=ObjectMeta(name=f"s{number}-1", namespace="default", labels={SERVICE_NAME: f"s{number}"}),
        addressType="IPv4",
        endpoints=[Endpoint(addresses=[a], nodeName="other", conditions=ready) for a in addresses],
        ports=[DiscoveryV1EndpointPort(port=port, protocol="TCP", name="")],
    )
