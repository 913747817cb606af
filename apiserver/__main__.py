"""`python -m apiserver --flags`: the API server as a process."""

import asyncio
import gc
from collections.abc import Iterable
from functools import partial

import grpc

from api.kinds import served
from apiserver import aggregation, auditing, encryption, policy_statuses
from apiserver.access import Access, access
from apiserver.admission import Admission, standard
from apiserver.admission.policies.assembling import AdmissionPolicies
from apiserver.admission.webhooks import Conditions, Served, Webhooks
from apiserver.aggregation import Registrar
from apiserver.auditing import Audited, Auditor, Log
from apiserver.authentication import Authenticator, publishing
from apiserver.authorization import Authorizer
from apiserver.catalogue import Catalogue
from apiserver.config import Config, parse
from apiserver.customs.establishing import Establisher
from apiserver.customs.keeping import Keeper
from apiserver.customs.viewing import Views
from apiserver.flows import Gate, keeping
from apiserver.grpc_door import SERVICE, Resources
from apiserver.grpc_streams import Streams
from apiserver.metrics import Metrics
from apiserver.nodes.kubelets import Kubelets
from apiserver.nodes.meters import NODE_METRICS, POD_METRICS, Meter
from apiserver.outgoing import Outgoing, outgoing
from apiserver.registry import Registry, cluster_addresses, default_roles, trust, upgrading
from apiserver.registry.bootstrapping import bootstrap, keep, reachable
from apiserver.registry.objects import Objects
from apiserver.rest.pages import Fixed
from apiserver.rest.serving import DRAIN, Rest, Settings
from apiserver.storage.compaction import Compactor
from apiserver.storage.etcd import Endpoints, Etcd
from apiserver.storage.leases import Leases
from apiserver.storage.members import Members
from apiserver.storage.sealing import SealedEtcd
from apiserver.storage.transactions import Store
from apiserver.storage.worlds import World
from machinery import running
from machinery.clocks import SYSTEM, Clock
from machinery.running import CannotGoOn
from machinery.serving import Files, Server

Task = asyncio.Task[None]
FAREWELL_SECONDS = 1.0
"""What clients have to end their pipelines when this server stops, if they have not said that they will."""
READY_SECONDS = 2.0
"""How long etcd may be out of reach before a server is not ready, as upstream's --etcd-readycheck-timeout."""


async def run(config: Config, clock: Clock = SYSTEM) -> None:
    """Serve until cancelled, and then until clients have had the time to notice.  Raises CannotGoOn."""
    try:
        etcd = _etcd(config)
    except (OSError, ValueError) as e:
        raise CannotGoOn(str(e)) from e
    metrics = Metrics()
    leases = Leases(etcd, clock, config.event_seconds)
    world, store = World(etcd, clock, served(config.gates)), Store(etcd, leases, metrics.storage.observe)
    metrics.look_at(world.resources)
    kubelets = Kubelets(config.kubelet_ca, config.kubelet_certificate, config.kubelet_key)
    async with etcd, outgoing(Objects(world, store), kubelets) as out, asyncio.TaskGroup() as tasks:
        tasks.create_task(world.run())
        await world.loaded.wait()
        gc.freeze()  # the world that was loaded mostly stays
        try:
            who = access(config, world, store, clock)
            audit_log = Log(config.audit_log, config.audit_limits) if config.audit_log else None
            auditor = _auditor(config, audit_log, clock)
        except (OSError, ValueError) as e:
            raise CannotGoOn(str(e)) from e
        if audit_log is not None:
            tasks.create_task(audit_log.run())
        authenticate, authorizer = who.authenticate, who.authorizer if auditor is None else Audited(who.authorizer)
        catalogue = Catalogue(served(config.gates))
        views = Views(out.caller)
        admission = partial(_admission, config, who, out, metrics, catalogue, Served(views))
        keeper = Keeper(world, catalogue, clock)
        registry = Registry(
            world, store, authorizer, admission, clock, authenticate, catalogue, keeper.settled, views,
            dict.fromkeys((NODE_METRICS, POD_METRICS), Meter(Objects(world, store), kubelets, clock)),
        )  # fmt: skip
        await keeper.refresh()
        members = Members(etcd, reachable(config.advertise_address))
        await members.announce()
        await bootstrap(registry, config.first_service_address, await members.present(), config.secure_port)
        await default_roles.ensure(registry)
        await keeping.ensure(registry)
        gate = Gate(registry.objects, clock, config.reads + config.writes)
        metrics.exposition.add(*gate.metrics)
        await trust.publish(registry, config.client_ca, config.proxies)
        files = config.proxy_certificate, config.proxy_key
        behind = aggregation.assemble(out, registry, authorizer, files, clock)
        checks = {"etcd": lambda: world.has_followed(READY_SECONDS)}
        rest = Rest(
            _settings(config), registry, authenticate, checks, authorizer=authorizer, clock=clock,
            fixed=_published(config, who), auditor=auditor, metrics=metrics, gate=gate,
            elsewhere=behind.aggregator.answer, others=behind.merger,
            catalogue=catalogue, settled=keeper.settled,
        )  # fmt: skip
        door = _door(config, registry, authenticate, authorizer, kubelets, auditor, metrics, gate, world)
        # In the order in which they close: /readyz is answered until the last pipeline has ended, else a balancer would
        # take the server for dead and cut off what is still being answered.
        doors = tasks.create_task(door.run()), tasks.create_task(rest.run())
        tasks.create_task(keeper.run())
        tasks.create_task(behind.checker.run())
        tasks.create_task(Registrar(world, registry, catalogue, keeper.settled, clock).run())
        tasks.create_task(Establisher(world, registry, keeper, clock).run())
        tasks.create_task(Compactor(etcd, clock).run())
        present = tasks.create_task(keep(registry, clock, members, config.first_service_address, config.secure_port))
        tasks.create_task(cluster_addresses.keep(registry, clock, config.service_cidrs))
        tasks.create_task(policy_statuses.keep(registry, clock))
        tasks.create_task(trust.keep(registry, clock, config.client_ca, config.proxies))
        tasks.create_task(keeping.keep(registry, clock))
        tasks.create_task(upgrading.complete(registry.objects, clock))
        await rest.bound()
        await door.ready()
        try:
            await asyncio.wait(doors)
        finally:
            if not any(task.done() for task in doors):
                rest.leave()
                await _leave(doors, present, clock, config.shutdown_delay)


async def _leave(doors: Iterable[Task], present: Task, clock: Clock, delay: float) -> None:
    """While everything else goes on, so that what is under way can be answered: first those who choose among the API
    servers are told that this one goes, then its doors close, one after the other."""
    present.cancel()
    await asyncio.wait([present])
    await clock.sleep(delay)
    for door in doors:
        door.cancel()
        await asyncio.wait([door])


def _etcd(config: Config) -> Etcd:
    """Raises ValueError, OSError."""
    endpoints = Endpoints(config.etcd_servers, config.etcd_ca, config.etcd_certificate, config.etcd_key)
    return SealedEtcd(endpoints, encryption.load(config.encryption)) if config.encryption else Etcd(endpoints)


def _auditor(config: Config, audit_log: Log | None, clock: Clock) -> Auditor | None:
    """Raises ValueError, OSError."""
    if config.audit_policy is None or audit_log is None:
        return None
    return Auditor(auditing.load(config.audit_policy), audit_log.tell, clock)


def _published(config: Config, who: Access) -> Fixed:
    """Pages beside the API's own."""
    address = config.advertise_address or config.first_service_address
    return publishing.pages(who.keys, f"{address}:{config.secure_port}") if who.keys is not None else {}


def _admission(
    config: Config, who: Access, out: Outgoing, metrics: Metrics, catalogue: Catalogue, served: Served, reader: Objects
) -> Admission:
    policies = AdmissionPolicies(reader, served, who.authorizer, catalogue.by_name)
    webhooks = Webhooks(reader, out.caller.call, served, Conditions(who.authorizer))
    return standard(
        reader,
        guards=who.guards,
        judges=who.judges,
        mutating=[policies.mutating, webhooks.mutating],
        validating=[policies.validating, webhooks.validating],
        mount_tokens=who.keys is not None,
        observe=metrics.admitted,
        service_cluster_ip_range=config.service_cluster_ip_range,
        service_node_port_range=config.service_node_port_range,
    )


def _settings(config: Config) -> Settings:
    return Settings(
        config.bind_address, config.secure_port, config.certificate, config.key, config.client_ca,
        config.proxies.ca if config.proxies is not None else None,
        config.kubelet_ca, config.kubelet_certificate, config.kubelet_key,
        share_port=config.share_port,
    )  # fmt: skip


def _door(
    config: Config, registry: Registry, authenticate: Authenticator, authorizer: Authorizer, kubelets: Kubelets,
    auditor: Auditor | None, metrics: Metrics, gate: Gate, world: World,
) -> Server:  # fmt: skip
    if config.certificate is None or config.key is None or config.client_ca is None:
        raise CannotGoOn("the gRPC door needs a certificate, its key and the clients' authority")
    files = Files(config.certificate, config.key, config.client_ca)
    address = f"{config.bind_address}:{config.grpc_port}"
    resources = Resources(registry, authenticate, authorizer, auditor, metrics, gate)
    streams = Streams(registry, authorizer, resources.caller, kubelets, auditor)

    def register(server: grpc.aio.Server) -> None:
        resources.register(server)
        streams.register(server, SERVICE)

    def leave() -> None:
        world.end_watches()
        resources.leave(FAREWELL_SECONDS)

    return Server(
        address, files, register, (SERVICE,), share_port=config.share_port, open_port=config.token_port, grace=DRAIN,
        on_stop=leave,
    )  # fmt: skip


def main() -> None:
    config = parse()
    running.main("apiserver", partial(run, config), verbosity=config.verbosity)


if __name__ == "__main__":
    main()
