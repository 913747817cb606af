"""Creates a Deployment over gRPC and watches it until all its pods are ready.

    .venv/bin/python examples/create_deployment.py [NAME [REPLICAS]]

Shows: objects are typed (every kind of Kubernetes is a class of `api.types`), one client carries every verb, and a
watch that starts at the revision of what was created misses nothing and polls nothing.
"""

import asyncio
import sys
from contextlib import aclosing

from api.errors import ApiError
from api.types import Container, Deployment, DeploymentSpec, LabelSelector, ObjectMeta, PodSpec, PodTemplateSpec
from machinery.client import Client, connect
from wherry.labs import Lab

NAMESPACE = "default"


def deployment(name: str, replicas: int) -> Deployment:
    labels = {"app": name}
    pod = PodSpec(containers=[Container(name="web", image="hewon16/image1:1")])
    return Deployment(
        metadata=ObjectMeta(name=name, namespace=NAMESPACE, labels=labels),
        spec=DeploymentSpec(
            replicas=replicas,
            selector=LabelSelector(matchLabels=labels),
            template=PodTemplateSpec(metadata=ObjectMeta(labels=labels), spec=pod),
        ),
    )


async def create_and_wait(client: Client, name: str, replicas: int) -> None:
    created = await client.create(deployment(name, replicas), field_manager="example")
    print(f"deployment.apps/{name} created at revision {created.metadata.resourceVersion}")
    watch = client.watch(
        Deployment, NAMESPACE,
        resource_version=created.metadata.resourceVersion, field_selector=f"metadata.name={name}",
    )  # fmt: skip
    async with aclosing(watch):
        async for batch in watch:
            for event in batch:
                if event.type != "MODIFIED":
                    continue
                ready = event.object.status.readyReplicas
                print(f"{ready} of {replicas} pods are ready")
                if ready == replicas:
                    return


async def main(name: str = "greeter", replicas: str = "2") -> None:
    async with connect(Lab.from_environment().grpc_kubeconfig) as client:
        try:
            await create_and_wait(client, name, int(replicas))
        except ApiError as e:
            sys.exit(f"{e.code} {e.reason}: {e}")
    print(f"Remove it with: kubectl delete deployment {name}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
