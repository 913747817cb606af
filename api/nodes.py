"""What a kubelet tells of itself on its Node, where Kubernetes has no field for it."""

from api.types import Node

GRPC_PORT_ANNOTATION = "kubelet.wherry.io/grpc-port"
KUBELET_PORT, KUBELET_GRPC_PORT = 10250, 10251


def kubelet_port(node: Node) -> int:
    """Of its HTTPS port, as Kubernetes has it."""
    return node.status.daemonEndpoints.kubeletEndpoint.Port or KUBELET_PORT


def kubelet_grpc_port(node: Node) -> int:
    """Of the service in proto/node.proto. What is no number was written by somebody else, and says nothing."""
    told = node.metadata.annotations.get(GRPC_PORT_ANNOTATION, "")
    return int(told) if told.isdecimal() and 0 < int(told) < 65536 else KUBELET_GRPC_PORT
