"""The gRPC door on a real socket, before a real registry, with the components' own client."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import grpc
import pytest
import pytest_asyncio

from api import kinds, meta
from api.errors import Conflict, NotFound
from api.types import ConfigMap, Event, Lease, LeaseSpec, ObjectMeta, ObjectReference
from apiserver.authentication import Authenticator
from apiserver.grpc_door import Resources, manager_of
from apiserver.registry import Registry
from apiserver.requests import User
from machinery.channels import ENDS_STREAMS, TENURE
from machinery.client import Client
from machinery.grpc_errors import from_rpc
from proto import resources_pb2 as pb
from proto.resources_pb2_grpc import ResourcesStub
from tests.unit.apiserver.core.test_registry import registry  # noqa: F401 - a fixture


class Everybody(Authenticator):
    """Takes every caller for an administrator: there is no TLS here."""

    async def __call__(self, certificate: bytes | None, authorization: str) -> User:
        return User("system:kube-scheduler", groups=("system:masters",))


@pytest.fixture
def door(registry: Registry) -> Resources:  # noqa: F811
    return Resources(registry, Everybody())


@pytest_asyncio.fixture
async def channel(door: Resources) -> AsyncIterator[grpc.aio.Channel]:
    server = grpc.aio.server()
    door.register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as found:
        yield found
    await server.stop(None)


@pytest_asyncio.fixture
async def client(channel: grpc.aio.Channel) -> AsyncIterator[Client]:
    found = Client(ResourcesStub(channel))
    running = asyncio.create_task(found.run())
    yield found
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def config_map(name: str, **data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="default"), data=data)


async def test_a_pipeline_that_the_server_leaves_answers_what_it_has_taken_and_says_so(
    door: Resources, channel: grpc.aio.Channel
) -> None:
    def asked(first: int) -> pb.Operations:
        get = pb.GetRequest(resource=pb.Resource(version="v1", plural="namespaces", name="none"))
        return pb.Operations(operations=[pb.Operation(id=n, get=get) for n in range(first, first + 300)])

    call = ResourcesStub(channel).Pipeline(metadata=(ENDS_STREAMS,))
    await call.write(asked(1))
    answered = [outcome.id for outcome in (await call.read()).outcomes]
    door.leave(patience=0)
    while not (message := await call.read()).last:
        answered += [outcome.id for outcome in message.outcomes]
    assert sorted(answered) == [*range(1, len(answered) + 1)]
    await call.write(asked(301))
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_a_client_that_does_not_know_what_the_last_message_means_is_told_so_in_old_words(
    door: Resources, channel: grpc.aio.Channel
) -> None:
    call = ResourcesStub(channel).Pipeline()
    get = pb.GetRequest(resource=pb.Resource(version="v1", plural="namespaces", name="none"))
    await call.write(pb.Operations(operations=[pb.Operation(id=1, get=get)]))
    assert (await call.read()).outcomes
    door.leave(patience=0)
    assert (await call.read()).last
    with pytest.raises(grpc.aio.AioRpcError) as told:
        await call.read()
    assert told.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_component_owns_fields_by_its_own_name_and_not_by_its_nodes() -> None:
    assert manager_of(User("system:kube-controller-manager")) == "kube-controller-manager"
    assert manager_of(User("system:node:node1")) == "kubelet"


async def test_the_verbs_work_over_the_pipeline(client: Client) -> None:
    made = await client.create(config_map("a", k="1"))
    assert made.metadata.managedFields[0].manager == "kube-scheduler"
    made.data["k"] = "2"
    after = await client.update(made)
    with pytest.raises(Conflict, match="the object has been modified"):
        await client.update(made)
    patched = await client.patch(ConfigMap, "a", "default", {"data": {"z": "3"}})
    assert patched.data == {"k": "2", "z": "3"}
    assert after.metadata.uid == patched.metadata.uid
    assert await client.get(ConfigMap, "a", "default") == patched
    await client.delete(ConfigMap, "a", "default")
    with pytest.raises(NotFound, match='configmaps "a" not found'):
        await client.get(ConfigMap, "a", "default")


async def test_operations_on_one_object_keep_their_order(client: Client) -> None:
    await client.create(config_map("a"))
    patches = (client.patch(ConfigMap, "a", "default", {"data": {"k": str(n)}}) for n in range(100))
    others = (client.create(config_map(f"b{n}")) for n in range(100))
    await asyncio.gather(*patches, *others)
    assert (await client.get(ConfigMap, "a", "default")).data == {"k": "99"}
    assert len((await client.list(ConfigMap, "default")).items) == 101


async def test_what_a_leader_has_asked_for_is_done_only_while_it_leads(client: Client) -> None:
    holder, since = "me/\N{BLACK STAR}", "2026-11-30T12:00:00.000001Z"
    lease = Lease(
        metadata=ObjectMeta(name="x", namespace="default"), spec=LeaseSpec(holderIdentity=holder, acquireTime=since)
    )
    client.fence(lambda: True, "default/x", holder, since)
    with pytest.raises(Conflict, match="is over"):
        await client.create(config_map("early"))
    held = await client.create(lease)  # those are written by whoever wants to lead
    await client.create(config_map("a"))
    held.spec.holderIdentity = "other"
    await client.update(held)
    for late in (
        client.create(config_map("b")), client.patch(ConfigMap, "a", "default", {"data": {"k": "v"}}),
        client.delete(ConfigMap, "a", "default"),
    ):  # fmt: skip
        with pytest.raises(Conflict, match="is over"):
            await late
    involved = ObjectReference(kind="ConfigMap", namespace="default", name="a")
    await client.create(Event(metadata=ObjectMeta(name="told", namespace="default"), involvedObject=involved))
    assert [c.metadata.name for c in (await client.list(ConfigMap, "default")).items] == ["a"]


@pytest.mark.parametrize("said", ["x", "default/x", "default/x/", "default/x/me", "default/x/me/"])
async def test_a_tenure_that_says_too_little_is_refused(channel: grpc.aio.Channel, said: str) -> None:
    call = ResourcesStub(channel).Pipeline(metadata=((TENURE, said),))
    with pytest.raises(grpc.aio.AioRpcError, match="NAMESPACE/NAME/HOLDER/SINCE"):
        await call.read()


async def test_a_watch_tells_all_that_happens_after_a_list(client: Client) -> None:
    listed = await client.list(ConfigMap, "default")
    watch = client.watch(ConfigMap, "default", resource_version=listed.resource_version)
    async with aclosing(watch) as batches:  # type: ignore[type-var]
        await client.create(config_map("a"))
        await client.delete(ConfigMap, "a", "default")
        seen: list[str] = []
        async for batch in batches:
            seen += [event.type for event in batch]
            if len(seen) == 2:
                break
    assert seen == ["ADDED", "DELETED"]


async def test_metadata_alone_can_be_asked_for(client: Client) -> None:
    await client.create(config_map("a", k="1"))
    (found,) = (await client.list(meta.partial(kinds.of(ConfigMap)), "default")).items
    assert (found.kind, found.metadata.name) == ("ConfigMap", "a")


async def test_a_refused_unary_call_carries_the_status(channel: grpc.aio.Channel) -> None:
    resource = pb.Resource(version="v1", plural="configmaps", namespace="default", name="a")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ResourcesStub(channel).Get(pb.GetRequest(resource=resource))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    error = from_rpc(refused.value)
    assert (type(error), error.details) == (NotFound, {"name": "a", "kind": "configmaps"})


async def test_an_unknown_resource_is_not_found(channel: grpc.aio.Channel) -> None:
    resource = pb.Resource(group="x", version="v1", plural="ys")
    call = ResourcesStub(channel).Watch(pb.WatchRequest(resource=resource))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        async for _ in call:
            pass
    assert isinstance(from_rpc(refused.value), NotFound)
