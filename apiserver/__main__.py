"""`python -m apiserver --flags`: the API server as a process."""

import asyncio
import gc
from functools import partial

import grpc

from apiserver.access import Access, access
from apiserver.admission import Admission, Reader, standard
from apiserver.authentication import Authenticator, publishing
from apiserver.authorization import Authorizer
from apiserver.config import Config, parse
from apiserver.grpc_door import SERVICE, Resources
from apiserver.grpc_streams import Streams
from apiserver.nodes.kubelets import Kubelets
from apiserver.registry import Registry, default_roles
from apiserver.registry.bootstrapping import bootstrap, keep
from apiserver.rest.serving import Rest, Settings
from apiserver.storage.compaction import Compactor
from apiserver.storage.etcd import Endpoints, Etcd
from apiserver.storage.leases import Leases
from apiserver.storage.transactions import Store
from apiserver.storage.worlds import World
from machinery import running
from machinery.clocks import SYSTEM, Clock
from machinery.running import CannotGoOn
from machinery.serving import Files, Server


async def run(config: Config, clock: Clock = SYSTEM) -> None:
    """Serve until cancelled.  Raises CannotGoOn."""
    try:
        etcd = Etcd(Endpoints(config.etcd_servers, config.etcd_ca, config.etcd_certificate, config.etcd_key))
    except (OSError, ValueError) as e:
        raise CannotGoOn(str(e)) from e
    async with etcd, asyncio.TaskGroup() as tasks:
        world, store = World(etcd, clock), Store(etcd, Leases(etcd, clock, config.event_seconds))
        tasks.create_task(world.run())
        await world.loaded.wait()
        gc.freeze()  # the world that was loaded mostly stays
        try:
            who = access(config, world, store, clock)
        except (OSError, ValueError) as e:
            raise CannotGoOn(str(e)) from e
        authenticate, authorizer = who.authenticate, who.authorizer
        registry = Registry(world, store, authorizer, partial(_admission, config, who), clock, authenticate)
        own = config.first_service_address, config.advertise_address, config.secure_port
        await bootstrap(registry, *own)
        await default_roles.ensure(registry)
        checks = {"etcd": lambda: world.following}
        rest = Rest(
            _settings(config), registry, authenticate, checks, authorizer=authorizer, clock=clock,
            fixed=_published(config, who),
        )  # fmt: skip
        kubelets = Kubelets(config.kubelet_ca, config.kubelet_certificate, config.kubelet_key)
        door = _door(config, registry, authenticate, authorizer, kubelets)
        tasks.create_task(rest.run())
        tasks.create_task(_serve(door, kubelets))
        tasks.create_task(Compactor(etcd, clock).run())
        tasks.create_task(keep(registry, clock, *own))
        await rest.bound()
        await door.ready()


async def _serve(door: Server, kubelets: Kubelets) -> None:
    try:
        await door.run()
    finally:
        await kubelets.close()


def _published(config: Config, who: Access) -> dict[str, tuple[str, bytes]]:
    """Pages beside the API's own."""
    address = config.advertise_address or config.first_service_address
    return publishing.pages(who.keys, f"{address}:{config.secure_port}") if who.keys is not None else {}


def _admission(config: Config, who: Access, reader: Reader) -> Admission:
    return standard(
        reader,
        guards=who.guards,
        mount_tokens=who.keys is not None,
        service_cluster_ip_range=config.service_cluster_ip_range,
        service_node_port_range=config.service_node_port_range,
    )


def _settings(config: Config) -> Settings:
    return Settings(
        config.bind_address, config.secure_port, config.certificate, config.key, config.client_ca,
        config.kubelet_ca, config.kubelet_certificate, config.kubelet_key,
    )  # fmt: skip


def _door(
    config: Config, registry: Registry, authenticate: Authenticator, authorizer: Authorizer, kubelets: Kubelets
) -> Server:  # fmt: skip
    if config.certificate is None or config.key is None or config.client_ca is None:
        raise CannotGoOn("the gRPC door needs a certificate, its key and the clients' authority")
    files = Files(config.certificate, config.key, config.client_ca)
    address = f"{config.bind_address}:{config.grpc_port}"
    resources = Resources(registry, authenticate)
    streams = Streams(registry, authorizer, resources.user, kubelets)

    def register(server: grpc.aio.Server) -> None:
        resources.register(server)
        streams.register(server, SERVICE)

    return Server(address, files, register, (SERVICE,))


def main() -> None:
    config = parse()
    running.main("apiserver", partial(run, config), verbosity=config.verbosity)


if __name__ == "__main__":
    main()
