"""Which container of which pod on which node a streaming request is about, with upstream's refusals."""

from typing import NamedTuple, Protocol

from api import kinds, meta
from api.errors import BadRequest
from api.types import Node, Pod
from apiserver.requests import Request, User
from proto import node_pb2 as pb

NODES = kinds.of(Node)
SELF = User("system:apiserver", groups=("system:masters",))


class Getter(Protocol):
    """What of the registry is needed here."""

    async def get(self, request: Request, resource_version: str = "") -> bytes: ...


class Place(NamedTuple):
    pod: Pod
    container: str
    """"" where the request is about the whole pod."""

    def message(self) -> pb.Container:
        metadata = self.pod.metadata
        return pb.Container(
            namespace=metadata.namespace, pod=metadata.name, container=self.container, pod_uid=metadata.uid
        )


async def find_pod(registry: Getter, request: Request) -> Pod:
    """Raises NotFound."""
    about = Request(SELF, "get", request.kind, request.namespace, request.name)
    return meta.decode(await registry.get(about), Pod)


async def find_node(registry: Getter, pod: Pod) -> Node:
    """The pod's node.  Raises BadRequest if it has none, NotFound if that is gone."""
    if not pod.spec.nodeName:
        raise BadRequest(f"pod {pod.metadata.name} does not have a host assigned")
    return meta.decode(await registry.get(Request(SELF, "get", NODES, name=pod.spec.nodeName)), Node)


def choose_container(pod: Pod, wanted: str) -> Place:
    """The container wanted, or the only one.  Raises BadRequest."""
    names = [c.name or "" for c in pod.spec.containers]
    others = {
        "init containers": [c.name or "" for c in pod.spec.initContainers],
        "ephemeral containers": [c.name or "" for c in pod.spec.ephemeralContainers],
    }
    pod_name = pod.metadata.name
    if wanted:
        if wanted in names or any(wanted in more for more in others.values()):
            return Place(pod, wanted)
        raise BadRequest(f"container {wanted} is not valid for pod {pod_name}")
    if len(names) == 1:
        return Place(pod, names[0])
    message = f"a container name must be specified for pod {pod_name}"
    if names:
        message += f", choose one of: [{' '.join(names)}]"
        for what, more in others.items():
            message += f" or one of the {what}: [{' '.join(more)}]" if more else ""
    raise BadRequest(message)
