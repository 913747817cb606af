"""A lab's settings: they come from the environment, under the names that compose.yaml documents."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
CLUSTER_LABEL = "io.wherry.cluster"
NODE_LABEL = "io.wherry.node"
NODES = 3


@dataclass(frozen=True, slots=True)
class Lab:
    name: str = "wherry"
    """Compose's project name, and the cluster's on the labels of all that kubelets start."""
    state: Path = PROJECT / ".wherry"
    """Certificates, kubeconfigs, generated compose file."""
    data: Path = Path("/var/lib/wherry")
    """Pods' directories, at the same path on the host and in the kubelets."""
    network: str = "10.123.0"
    """First three numbers of the lab's /24."""
    api_port: int = 6443
    grpc_port: int = 6444
    scheduler_port: int = 10259
    controllers_port: int = 10257
    capacity: str = ""
    """What each node has of the machine, as a kubelet's --capacity: `cpu=1,memory=4Gi`; "" is all of it."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Lab":
        told = environment.get
        return cls(
            name=told("COMPOSE_PROJECT_NAME") or cls().name,
            state=Path(told("WHERRY_STATE") or cls().state).resolve(),
            data=Path(told("WHERRY_DATA") or cls().data),
            network=told("WHERRY_NETWORK") or cls().network,
            api_port=int(told("WHERRY_API_PORT") or cls().api_port),
            grpc_port=int(told("WHERRY_GRPC_PORT") or cls().grpc_port),
            scheduler_port=int(told("WHERRY_SCHEDULER_PORT") or cls().scheduler_port),
            controllers_port=int(told("WHERRY_CONTROLLERS_PORT") or cls().controllers_port),
            capacity=told("WHERRY_NODE_CAPACITY") or cls().capacity,
        )

    def environment(self) -> dict[str, str]:
        """What compose.yaml reads; `Lab.from_environment` of it is this lab again."""
        return {
            "COMPOSE_PROJECT_NAME": self.name,
            "WHERRY_STATE": str(self.state),
            "WHERRY_DATA": str(self.data),
            "WHERRY_NETWORK": self.network,
            "WHERRY_API_PORT": str(self.api_port),
            "WHERRY_GRPC_PORT": str(self.grpc_port),
            "WHERRY_SCHEDULER_PORT": str(self.scheduler_port),
            "WHERRY_CONTROLLERS_PORT": str(self.controllers_port),
            "WHERRY_NODE_CAPACITY": self.capacity,
        }

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def kubeconfig(self) -> Path:
        """For kubectl."""
        return self.state / "kubeconfig"

    @property
    def grpc_kubeconfig(self) -> Path:
        """For `machinery.client`."""
        return self.state / "grpc.kubeconfig"

    def container(self, service: str) -> str:
        """The name of a service's container."""
        return f"{self.name}-{service}-1"


def node_names(count: int) -> list[str]:
    return [f"node{number}" for number in range(1, count + 1)]
