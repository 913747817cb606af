"""Services and endpoint slices, as short as a test wants to say them."""

from collections.abc import Sequence

from api.types import (
    DiscoveryV1EndpointPort,
    Endpoint,
    EndpointConditions,
    EndpointSlice,
    ObjectMeta,
    Service,
    ServicePort,
    ServiceSpec,
)

DOMAIN = "cluster.local."
HTTP = ("http", "TCP", 80)


def service(
    name: str = "web", ip: str = "10.96.0.7", *, namespace: str = "default",
    ports: Sequence[tuple[str, str, int]] = (HTTP,), **spec: object,
) -> Service:  # fmt: skip
    made = [ServicePort(name=name, protocol=protocol, port=number) for name, protocol, number in ports]
    return Service(
        metadata=ObjectMeta(name=name, namespace=namespace, uid="u1"),
        spec=ServiceSpec(clusterIP=ip, ports=made, **spec),  # type: ignore[arg-type]
    )


def endpoint(*addresses: str, ready: bool | None = True, hostname: str = "") -> Endpoint:
    return Endpoint(addresses=list(addresses), hostname=hostname, conditions=EndpointConditions(ready=ready))


def slice_of(
    *endpoints: Endpoint, of: str = "web", name: str = "web-1", namespace: str = "default", family: str = "IPv4",
    ports: Sequence[tuple[str, str, int]] = (("http", "TCP", 8080),),
) -> EndpointSlice:  # fmt: skip
    return EndpointSlice(
        metadata=ObjectMeta(name=name, namespace=namespace, labels={"kubernetes.io/service-name": of}),
        addressType=family, endpoints=list(endpoints),
        ports=[DiscoveryV1EndpointPort(name=n, protocol=protocol, port=number) for n, protocol, number in ports],
    )  # fmt: skip
