"""The controllers there are, by upstream's names."""

from collections.abc import Callable

from controller_manager import (
    deployments,
    endpoint_slices,
    endpoints,
    garbage_collector,
    namespaces,
    node_ipam,
    node_lifecycle,
    pod_gc,
    replica_sets,
    replication_controllers,
    root_certificates,
    service_accounts,
    taint_eviction,
)
from controller_manager.contexts import Context
from machinery.controllers import Controller

# The last two look at every kind, and take the informers that the others have where there is one.
CONTROLLERS: dict[str, Callable[[Context], Controller]] = {
    "node-ipam-controller": node_ipam.new,
    "node-lifecycle-controller": node_lifecycle.new,
    "taint-eviction-controller": taint_eviction.new,
    "pod-garbage-collector-controller": pod_gc.new,
    "serviceaccount-controller": service_accounts.new,
    "root-ca-certificate-publisher-controller": root_certificates.new,
    "replicaset-controller": replica_sets.new,
    "replicationcontroller-controller": replication_controllers.new,
    "deployment-controller": deployments.new,
    "endpoints-controller": endpoints.new,
    "endpointslice-controller": endpoint_slices.new,
    "namespace-controller": namespaces.new,
    "garbage-collector-controller": garbage_collector.new,
}


def enabled(context: Context) -> list[Controller]:
    """The controllers that the configuration asks for."""
    return [new(context) for name, new in CONTROLLERS.items() if context.config.enabled(name)]
