"""The drivers that are registered, and calling them."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import grpc

from kubelet.devices.claims import ClaimFault, top
from kubelet.devices.metrics import Metrics
from kubelet.devices.records import Claim, Device
from proto import dra_pb2 as pb

TIMEOUT = 45.0
SERVICES = {
    "v1.DRAPlugin": "k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin",
    "v1beta1.DRAPlugin": "k8s.io.kubelet.pkg.apis.dra.v1beta1.DRAPlugin",  # its messages are the same
}
OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),  # a driver that comes back does not wait for its predecessor's next try
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5000),
    ("grpc.enable_http_proxy", 0),
)


class Refused(Exception):
    """A driver cannot be registered; upstream's words."""


def service(name: str, endpoint: str, versions: Sequence[str]) -> str:
    """The gRPC service to call a driver by.  Raises Refused."""
    if found := next((SERVICES[version] for version in versions if version in SERVICES), ""):
        return found
    why = "empty list of supported gRPC services (aka supported versions)"
    if versions:
        why = (
            f"none of services supported by the plugin ({_listed(versions)}) are supported by the kubelet "
            f"({_listed(SERVICES)})"
        )
    raise Refused(f"invalid supported gRPC versions of DRA driver plugin {name} at endpoint {endpoint}: {why}")


def _listed(words: Iterable[str]) -> str:
    return "[" + " ".join(f'"{word}"' for word in words) + "]"


class Driver:
    """One driver at one endpoint."""

    def __init__(self, name: str, endpoint: str, service: str, metrics: Metrics) -> None:
        self.name = name
        self.endpoint = endpoint
        self.connected = False
        self._service = service
        self._metrics = metrics
        self._channel = grpc.aio.insecure_channel(f"unix:{endpoint}", OPTIONS)

    async def follow(self, changed: Callable[[], None]) -> None:
        """Stays connected until cancelled; `changed` is called when `connected` has."""
        ready = grpc.ChannelConnectivity.READY
        while True:
            state = self._channel.get_state(try_to_connect=True)
            if self.connected != (state is ready):
                self.connected = state is ready
                changed()
            await self._channel.wait_for_state_change(state)

    async def close(self) -> None:
        await self._channel.close()

    async def prepare(self, claims: Sequence[Claim]) -> dict[str, list[Device]]:
        """The devices of each claim, by its uid.  Raises ClaimFault."""
        request = pb.NodePrepareResourcesRequest(claims=_named(claims))
        answer = await self._call("NodePrepareResources", request, pb.NodePrepareResourcesResponse, claims)
        return {uid: [_device(d) for d in each.devices] for uid, each in answer.claims.items()}

    async def unprepare(self, claims: Sequence[Claim]) -> None:
        """Raises ClaimFault."""
        request = pb.NodeUnprepareResourcesRequest(claims=_named(claims))
        await self._call("NodeUnprepareResources", request, pb.NodeUnprepareResourcesResponse, claims)

    async def _call(self, method: str, request: Any, answers: Any, claims: Sequence[Claim]) -> Any:
        """`answers` is the type of the answer, which must be one for each claim, and good.  Raises ClaimFault."""
        path = f"/{self._service}/{method}"
        call = self._channel.unary_unary(path, type(request).SerializeToString, answers.FromString)
        with self._metrics.calling(self.name, path) as failed:
            try:
                answer = await call(request, timeout=TIMEOUT)
            except grpc.aio.AioRpcError as e:
                failed(code(e))
                raise ClaimFault(f"{method}: {words(e)}") from e
        names = {c.uid: c.name for c in claims}
        for uid, each in answer.claims.items():
            if uid not in names:
                raise ClaimFault(f"{method} returned result for unknown claim UID {uid}")
            if each.error:
                raise ClaimFault(f"{method} failed for ResourceClaim {names[uid]}: {each.error}")
        if missing := len(names) - len(answer.claims):
            raise ClaimFault(f"{method} skipped {missing} ResourceClaims")
        return answer


class Drivers:
    """By name.  A driver that is being replaced has two for a while; the newest that can be reached is called.

    `on_change` is told the name of a driver that came, went or was lost.
    """

    def __init__(self) -> None:
        self.on_change: Callable[[str], None] = lambda name: None
        self._known: dict[str, list[Driver]] = {}

    def get(self, name: str) -> Driver:
        """Raises ClaimFault."""
        if not (known := self._known.get(name, [])):
            raise ClaimFault(f"DRA driver {name} is not registered" if name else "DRA driver name is empty")
        return next((d for d in reversed(known) if d.connected), known[-1])

    def usable(self, name: str) -> bool:
        return any(d.connected for d in self._known.get(name, []))

    def add(self, driver: Driver) -> None:
        """Raises Refused: nobody takes another one's endpoint."""
        known = self._known.setdefault(driver.name, [])
        if any(d.endpoint == driver.endpoint for d in known):
            raise Refused(f"endpoint {driver.endpoint} already registered for DRA driver plugin {driver.name}")
        known.append(driver)
        self.on_change(driver.name)

    def remove(self, driver: Driver) -> None:
        known = self._known[driver.name]
        known.remove(driver)
        if not known:
            del self._known[driver.name]
        self.on_change(driver.name)


def _named(claims: Sequence[Claim]) -> list[pb.Claim]:
    return [pb.Claim(namespace=c.namespace, uid=c.uid, name=c.name) for c in claims]


def _device(said: pb.Device) -> Device:
    requests = tuple(map(top, said.request_names))
    return Device(requests, said.pool_name, said.device_name, tuple(said.cdi_device_ids), said.share_id)


def code(error: grpc.aio.AioRpcError) -> str:
    """As upstream writes a status."""
    return "".join(word.title() for word in error.code().name.split("_"))


def words(error: grpc.aio.AioRpcError) -> str:
    return f"rpc error: code = {code(error)} desc = {error.details()}"
