"""`python -m cluster_dns`: the cluster's names."""

import argparse
import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from api import kinds, meta
from api.errors import ApiError
from api.types import EndpointSlice, Namespace, Service
from cluster_dns.answers import Answers
from cluster_dns.following import Follower
from cluster_dns.forwarding import Forwarder, Upstream, resolvers
from cluster_dns.names import Names
from cluster_dns.peers import Peers
from cluster_dns.publishing import Place, Publisher
from cluster_dns.records import Layout
from cluster_dns.serving import Server
from machinery import serving
from machinery.client import connect
from machinery.informers import Informer
from machinery.running import main, together
from machinery.serving import Files

log = logging.getLogger(__name__)

PKI = Path("/etc/wherry/pki")
TENTH = 10
FAREWELL_SECONDS = LINGER_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Config:
    kubeconfig: Path
    bind_address: str
    port: int
    layout: Layout
    upstreams: tuple[Upstream, ...]
    advertised: str
    """This server's address in the Service's endpoints; "" keeps it out of them."""
    secure_address: str
    files: Files
    verbosity: int = 0


def parse(arguments: Sequence[str] | None = None) -> Config:
    parser = argparse.ArgumentParser("cluster_dns", description="Answers for the names of services and pods.")
    add = parser.add_argument
    add("--kubeconfig", type=Path, default=PKI / "kubeconfig")
    add("--bind-address", default="0.0.0.0", help="where names are asked for")  # noqa: S104  that is what it is for
    add("--port", type=int, default=53)
    add("--cluster-domain", default="cluster.local")
    add("--service-cluster-ip-range", type=IPv4Network, default="10.96.0.0/16")
    add("--cluster-cidr", type=IPv4Network, help="where pods live: who has no name there is not asked for elsewhere")
    add("--cluster-dns", type=IPv4Address, help="the Service's address; by default the tenth of its range")
    add("--resolv-conf", type=Path, default=Path("/etc/resolv.conf"), help="names the resolvers for all other names")
    add("--publish", type=_truth, default=True, help="keep the Service kube-system/kube-dns and be its endpoint")
    add("--advertise-address", default="", help="this server's address as nodes reach it; needed to publish")
    add("--secure-bind-address", default="0.0.0.0")  # noqa: S104  this port asks for a client certificate
    add("--secure-port", type=int, default=10053)
    add("--tls-cert-file", type=Path, default=PKI / "tls.crt")
    add("--tls-private-key-file", type=Path, default=PKI / "tls.key")
    add("--client-ca-file", type=Path, default=PKI / "ca.crt")
    add("-v", dest="verbosity", type=int, default=0)
    given = parser.parse_args(arguments)
    if given.publish and not given.advertise_address:
        parser.error("--advertise-address is needed, or --publish=false")
    services: IPv4Network = given.service_cluster_ip_range
    address = str(given.cluster_dns or services[TENTH])
    return Config(
        kubeconfig=given.kubeconfig,
        bind_address=given.bind_address,
        port=given.port,
        layout=Layout(
            domain=f"{given.cluster_domain.strip('.').lower()}.",
            ranges=tuple(filter(None, (services, given.cluster_cidr))),
            address=address,
        ),
        upstreams=resolvers(given.resolv_conf, but={address, given.advertise_address}),
        advertised=given.advertise_address if given.publish else "",
        secure_address=f"{given.secure_bind_address}:{given.secure_port}",
        files=Files(given.tls_cert_file, given.tls_private_key_file, given.client_ca_file),
        verbosity=given.verbosity,
    )


async def run(config: Config) -> None:
    health = serving.Server(config.secure_address, config.files, lambda _: None)
    names = Names(config.layout)
    answers = Answers(names, Forwarder(config.upstreams))
    door = Server(config.bind_address, config.port, answers)
    async with connect(config.kubeconfig) as client:
        services, slices = Informer(client, Service), Informer(client, EndpointSlice)
        namespaces = Informer(client, meta.partial(kinds.of(Namespace)))
        informers = (services, slices, namespaces)
        Follower(services, slices, namespaces, names, answers)

        async def serve() -> None:
            """Half of the names would deny the others: nothing is answered before all are known."""
            for informer in informers:
                await informer.synced()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(door.run())
                try:
                    await opened()
                finally:
                    # Proxies that have not heard of it yet still send questions here.
                    await asyncio.sleep(LINGER_SECONDS if config.advertised else 0)

        async def opened() -> None:
            port = await door.bound()
            await health.ready()
            log.info("answering on %s:%d for %s", config.bind_address, port, ", ".join(config.layout.zones()))
            if config.advertised:
                place = Place(config.advertised, port, config.layout.address)
                await together(publish(Publisher(client, services, slices, place)), Peers(client, slices, place).run())

        await together(health.run(), *(informer.run() for informer in informers), serve())


async def publish(publisher: Publisher) -> None:
    try:
        await publisher.run()
    finally:
        try:
            async with asyncio.timeout(FAREWELL_SECONDS):
                await publisher.leave()
        except (ApiError, TimeoutError) as e:
            log.warning("the endpoint could not be taken back: %s", e)


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError("true or false")
    return text.lower() == "true"


if __name__ == "__main__":
    config = parse()
    main("cluster-dns", lambda: run(config), verbosity=config.verbosity)
