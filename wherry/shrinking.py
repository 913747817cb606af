"""What a lab with fewer nodes than before must forget: nobody else would say that a node comes back no more."""

import re

from api import errors
from api.types import Node, Pod
from machinery.client import Client, connect
from wherry.certificates import address_of
from wherry.labs import Lab

OURS = re.compile(r"node\d+")


async def forget_nodes(lab: Lab, keep: list[str]) -> list[str]:
    """Deletes the objects of the lab's former nodes, and of their pods, whose containers are gone; returns their names.

    A node that somebody else has joined to the cluster stays: it has another name or another address.
    """
    async with connect(lab.grpc_kubeconfig) as client:
        gone = [n.metadata.name for n in (await client.list(Node)).items if is_former(n, lab, keep)]
        for name in gone:
            await client.delete(Node, name)
            await _forget_pods(client, name)
    return gone


def is_former(node: Node, lab: Lab, keep: list[str]) -> bool:
    name = node.metadata.name
    if name in keep or not OURS.fullmatch(name):
        return False
    return any(a.type == "InternalIP" and a.address == address_of(name, lab.network) for a in node.status.addresses)


async def _forget_pods(client: Client, node: str) -> None:
    for pod in (await client.list(Pod, field_selector=f"spec.nodeName={node}")).items:
        try:
            metadata = pod.metadata
            await client.delete(Pod, metadata.name, metadata.namespace, uid=metadata.uid, grace_seconds=0)
        except (errors.NotFound, errors.Conflict):
            continue  # its controller or the garbage collector was faster
