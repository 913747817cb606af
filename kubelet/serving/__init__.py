"""The kubelet's gRPC service (proto/node.proto)."""
