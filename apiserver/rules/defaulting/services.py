"""Services and their endpoints: https://kubernetes.io/docs/reference/kubernetes-api/service-resources/"""

from api.types import ClientIPConfig, Endpoints, EndpointSlice, Service, ServiceSpec, SessionAffinityConfig

AFFINITY_SECONDS = 10800


def service(obj: Service) -> None:
    spec = obj.spec
    spec.sessionAffinity = spec.sessionAffinity or "None"
    if spec.sessionAffinity == "None":
        spec.sessionAffinityConfig = None
    elif spec.sessionAffinity == "ClientIP":
        config = spec.sessionAffinityConfig
        if config is None or config.clientIP is None or config.clientIP.timeoutSeconds is None:
            spec.sessionAffinityConfig = SessionAffinityConfig(clientIP=ClientIPConfig(timeoutSeconds=AFFINITY_SECONDS))
    spec.type = spec.type or "ClusterIP"
    for port in spec.ports:
        port.protocol = port.protocol or "TCP"
        if port.targetPort in (None, 0, ""):
            port.targetPort = port.port
    if externally_accessible(spec):
        spec.externalTrafficPolicy = spec.externalTrafficPolicy or "Cluster"
    if spec.type in ("ClusterIP", "NodePort", "LoadBalancer"):
        spec.internalTrafficPolicy = spec.internalTrafficPolicy or "Cluster"
    if spec.type == "LoadBalancer" and spec.allocateLoadBalancerNodePorts is None:
        spec.allocateLoadBalancerNodePorts = True
    for ingress in obj.status.loadBalancer.ingress:
        if ingress.ip and not ingress.ipMode:
            ingress.ipMode = "VIP"


def externally_accessible(spec: ServiceSpec) -> bool:
    """Whether anything comes from outside of the cluster, so that there is a traffic policy for it."""
    return spec.type in ("NodePort", "LoadBalancer") or (spec.type == "ClusterIP" and bool(spec.externalIPs))


def endpoints(obj: Endpoints) -> None:
    for subset in obj.subsets:
        for port in subset.ports:
            port.protocol = port.protocol or "TCP"


def endpoint_slice(obj: EndpointSlice) -> None:
    for port in obj.ports:
        if port.name is None:
            port.name = ""
        port.protocol = port.protocol or "TCP"
