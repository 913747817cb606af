"""What happens to a well-formed object before it is validated: rules that need to look at other objects.

    reading            the narrow view of the other objects
    namespaces         NamespaceLifecycle
    limit_ranges       LimitRanger
    service_accounts   ServiceAccount
    priorities         Priority
    tolerations        DefaultTolerationSeconds
    new_nodes          TaintNodesByCondition
    default_classes    DefaultStorageClass, DefaultIngressClass
    storage_objects    StorageObjectInUseProtection, PersistentVolumeClaimResize
    runtime_classes    RuntimeClass
    pod_security       PodSecurity; pod_standards has the checks
    devices            access to devices that others have, the times of their taints
    resource_quotas    ResourceQuota, which comes last of all
    services           allocation of cluster IPs and node ports
    holdings           what services hold of them, without a look at every service
    claims             the keys that make allocated addresses exclusive across API servers

`Admission` is the lists of them in upstream's order.  `claims_of` says which keys an object holds: the write that
stores the object creates `claims_of(new) - claims_of(old)` and removes `claims_of(old) - claims_of(new)` in the same
transaction, so that two API servers cannot hand out one address.  A writer that loses the race for a claim runs `admit`
again with caught-up reads: a random choice then falls elsewhere, and a requested address is refused by name.
"""

from apiserver.admission.chain import About, Admission, Judge, Plugin, standard
from apiserver.admission.claims import claims_of
from apiserver.admission.reading import Ledger, Reader

__all__ = ["About", "Admission", "Judge", "Ledger", "Plugin", "Reader", "claims_of", "standard"]
