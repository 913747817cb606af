"""The controllers there are, by upstream's names."""

from collections.abc import Callable

from controller_manager import (
    account_tokens,
    autoscalers,
    certificate_approving,
    certificate_cleaning,
    certificate_signing,
    cron_jobs,
    daemon_sets,
    deployments,
    disruption_budgets,
    endpoint_slice_mirroring,
    endpoint_slices,
    endpoints,
    ephemeral_volumes,
    garbage_collector,
    jobs,
    namespaces,
    node_ipam,
    node_lifecycle,
    pod_gc,
    replica_sets,
    replication_controllers,
    resource_quotas,
    role_aggregation,
    root_certificates,
    service_accounts,
    service_addresses,
    service_cidrs,
    stateful_sets,
    storage_classes,
    taint_eviction,
    ttl_after_finished,
    volume_binding,
    volume_protection,
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
    "serviceaccount-token-controller": account_tokens.new,
    "root-ca-certificate-publisher-controller": root_certificates.new,
    "clusterrole-aggregation-controller": role_aggregation.new,
    "certificatesigningrequest-approving-controller": certificate_approving.new,
    "certificatesigningrequest-signing-controller": certificate_signing.new,
    "certificatesigningrequest-cleaner-controller": certificate_cleaning.new,
    "replicaset-controller": replica_sets.new,
    "replicationcontroller-controller": replication_controllers.new,
    "deployment-controller": deployments.new,
    "statefulset-controller": stateful_sets.new,
    "daemonset-controller": daemon_sets.new,
    "job-controller": jobs.new,
    "cronjob-controller": cron_jobs.new,
    "ttl-after-finished-controller": ttl_after_finished.new,
    "horizontal-pod-autoscaler-controller": autoscalers.new,
    "disruption-controller": disruption_budgets.new,
    "resourcequota-controller": resource_quotas.new,
    "endpoints-controller": endpoints.new,
    "endpointslice-controller": endpoint_slices.new,
    "endpointslice-mirroring-controller": endpoint_slice_mirroring.new,
    "service-cidr-controller": service_cidrs.new,
    "service-lb-controller": service_addresses.new,
    "persistentvolume-binder-controller": volume_binding.new,
    "persistentvolumeclaim-protection-controller": volume_protection.new_for_claims,
    "persistentvolume-protection-controller": volume_protection.new_for_volumes,
    "ephemeral-volume-controller": ephemeral_volumes.new,
    "default-storage-class-controller": storage_classes.new,
    "namespace-controller": namespaces.new,
    "garbage-collector-controller": garbage_collector.new,
}


def enabled(context: Context) -> list[Controller]:
    """The controllers that the configuration asks for."""
    return [new(context) for name, new in CONTROLLERS.items() if context.config.enabled(name)]
