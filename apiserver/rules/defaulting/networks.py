"""Policies of the pod network."""

from api.types import IngressClass, NetworkPolicy


def policy(obj: NetworkPolicy) -> None:
    spec = obj.spec
    ports = [p for rule in spec.ingress for p in rule.ports] + [p for rule in spec.egress for p in rule.ports]
    for port in ports:
        port.protocol = port.protocol or "TCP"
    if not spec.policyTypes:
        # Ingress always: a policy without rules isolates its pods.
        spec.policyTypes = ["Ingress", "Egress"] if spec.egress else ["Ingress"]


def ingress_class(obj: IngressClass) -> None:
    if obj.spec.parameters is not None:
        obj.spec.parameters.scope = obj.spec.parameters.scope or "Cluster"
