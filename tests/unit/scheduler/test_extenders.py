"""Extenders, asked over HTTP as they are: what they say is done."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from api import meta
from api.types import Node
from proto import scheduler_pb2 as pb
from scheduler.configurations import Configuration
from scheduler.extender_documents import Extender, ManagedResource
from scheduler.extenders import Extenders
from scheduler.queues import State
from scheduler.serving import explanation, simulation
from tests.unit.scheduler.objects import container, node, pod
from tests.unit.scheduler.test_scheduling import Cluster, running

NODES = {name: node(name) for name in ("n1", "n2", "n3")}
Answer = Callable[[dict[str, Any]], Any]


class Hook:
    """Answers each verb by a function, and remembers what it was asked."""

    def __init__(self, **verbs: Answer) -> None:
        self._verbs = verbs
        self.asked: list[tuple[str, dict[str, Any]]] = []

    async def answer(self, request: web.Request) -> web.Response:
        verb, document = request.match_info["verb"], json.loads(await request.read())
        self.asked.append((verb, document))
        answer = self._verbs[verb](document)
        return web.Response(status=answer) if isinstance(answer, int) else web.json_response(answer)


@asynccontextmanager
async def extended(hook: Hook, nodes: Mapping[str, Node] = NODES, **config: Any) -> AsyncIterator[Cluster]:
    app = web.Application()
    app.router.add_post("/prefix/{verb}", hook.answer)
    async with TestServer(app) as server:
        given = {f"{verb}Verb": verb for verb in hook._verbs} | config
        extender = Extender(urlPrefix=str(server.make_url("/prefix")), weight=1, **given)
        async with running(*nodes.values(), configuration=Configuration()) as cluster:
            cluster.scheduler.ask(Extenders([extender], nodes.get, cluster.scheduler.snapshot.pods))
            yield cluster


async def placed(cluster: Cluster, name: str = "a") -> str:
    await cluster.until(
        lambda: name in cluster.bound or bool(cluster.scheduler.queue.waiting(State.UNSCHEDULABLE, State.BACKOFF))
    )
    return cluster.bound.get(name, "")


def only(*names: str) -> Answer:
    return lambda asked: {"NodeNames": names, "FailedNodes": {n: "too cold" for n in NODES if n not in names}}


async def test_a_node_that_the_extender_rejects_is_not_taken() -> None:
    hook = Hook(filter=only("n3"))
    async with extended(hook, nodeCacheCapable=True) as cluster:
        cluster.put(pod("a"))
        assert await placed(cluster) == "n3"
    [(_, asked)] = hook.asked
    assert (asked["Pod"]["metadata"]["name"], asked["Nodes"], sorted(asked["NodeNames"])) == ("a", None, [*NODES])


async def test_an_extender_without_a_cache_is_shown_the_nodes() -> None:
    hook = Hook(
        filter=lambda asked: {"nodes": {"items": [n for n in asked["Nodes"]["items"] if n["metadata"]["name"] == "n2"]}}
    )
    async with extended(hook) as cluster:
        cluster.put(pod("a"))
        assert await placed(cluster) == "n2"


async def test_without_a_node_the_extenders_reasons_are_told() -> None:
    async with extended(Hook(filter=only()), nodeCacheCapable=True) as cluster:
        cluster.put(pod("a"))
        assert await placed(cluster) == ""
        [waiting] = cluster.scheduler.queue.waiting(State.UNSCHEDULABLE)
        assert waiting.message.startswith(
            "0/3 nodes are available: 3 too cold. no new claims to deallocate, preemption: 0/3 "
        )


async def test_points_decide_among_what_is_left() -> None:
    def prioritize(asked: dict[str, Any]) -> Any:
        return [{"Host": n, "Score": 10 if n == "n2" else 0} for n in asked["NodeNames"]]

    async with extended(Hook(prioritize=prioritize), nodeCacheCapable=True) as cluster:
        cluster.scheduler.snapshot.set_pod(cluster.scheduler.wish_of(pod("other", cpu="1")), "n2")
        cluster.put(pod("a", cpu="100m"))
        assert await placed(cluster) == "n2"


async def test_an_extender_can_bind() -> None:
    hook = Hook(bind=lambda asked: {"Error": ""})
    async with extended(hook) as cluster:
        cluster.put(pod("a"))
        await cluster.until(lambda: bool(cluster.server.told))
        assert cluster.bound == {}
        [(_, asked)] = hook.asked
        assert (asked["PodName"], asked["PodNamespace"], asked["PodUID"]) == ("a", "default", "uid-a")
        assert cluster.server.told == [
            ("Normal", "Scheduled", f"Successfully assigned default/a to {asked['Node']}")
        ]  # fmt: skip


@pytest.mark.parametrize("answer", [500, {"Error": "no"}], ids=["broken", "refusing"])
async def test_an_extender_that_fails_holds_its_pods_up_unless_it_may_be_ignored(answer: Any) -> None:
    async with extended(Hook(filter=lambda asked: answer), nodeCacheCapable=True) as cluster:
        cluster.put(pod("a"))
        assert await placed(cluster) == ""
        assert cluster.scheduler.queue.waiting(State.BACKOFF)
    async with extended(Hook(filter=lambda asked: answer), nodeCacheCapable=True, ignorable=True) as cluster:
        cluster.put(pod("a"))
        assert await placed(cluster)


async def test_an_extender_is_asked_about_pods_with_its_resources_only() -> None:
    hook = Hook(filter=only("n1"))
    managed = [ManagedResource("example.com/gpu")]
    async with extended(hook, nodeCacheCapable=True, managedResources=managed) as cluster:
        cluster.put(pod("a", containers=[container(cpu="1")]))
        assert await placed(cluster)
    assert hook.asked == []


@pytest.mark.parametrize("ignorable", [False, True])
async def test_a_binding_that_the_extender_refuses_fails_or_is_made_without_it(ignorable: bool) -> None:
    async with extended(Hook(bind=lambda asked: {"Error": "not today"}), ignorable=ignorable) as cluster:
        cluster.put(pod("a"))
        assert bool(await placed(cluster)) == ignorable
        told = [message for _, reason, message in cluster.server.told if reason == "FailedScheduling"]
        assert told == ([] if ignorable else ["binding rejected: not today"])


async def test_a_node_that_was_not_asked_about_cannot_be_what_is_left() -> None:
    async with extended(Hook(filter=lambda asked: {"NodeNames": ["n9"]}), nodeCacheCapable=True) as cluster:
        cluster.put(pod("a"))
        assert await placed(cluster) == ""
        [waiting] = cluster.scheduler.queue.waiting(State.BACKOFF)
        assert waiting.message.endswith('claims a filtered node "n9" which is not found in the input node list')


async def test_an_explanation_tells_what_the_extender_says_of_each_node() -> None:
    def prioritize(asked: dict[str, Any]) -> Any:
        return [{"Host": n, "Score": 7} for n in asked["NodeNames"]]

    async with extended(Hook(filter=only("n3"), prioritize=prioritize), nodeCacheCapable=True) as cluster:
        url = cluster.scheduler.extenders._webhooks[0].name  # type: ignore[union-attr]
        found = await explanation(cluster.scheduler, pod("a"))
        assert found.node == "n3"
        assert [(v.node, v.rejected_by, v.reason) for v in found.verdicts] == [
            ("n1", url, "too cold"), ("n2", url, "too cold"), ("n3", "", ""),
        ]  # fmt: skip
        assert found.verdicts[2].scores[url] == 70


async def test_an_explanation_names_the_extender_that_does_not_answer() -> None:
    async with extended(Hook(filter=lambda asked: 503), nodeCacheCapable=True) as cluster:
        found = await explanation(cluster.scheduler, pod("a"))
        assert found.node == ""
        assert {v.rejected_by for v in found.verdicts} == {
            found.message.split(" URL ")[1].removesuffix("/filter, code 503")
        }
        assert {v.reason for v in found.verdicts} == {found.message}


async def test_a_simulation_asks_extenders_as_if_the_pods_before_were_placed() -> None:
    """Also about nodes that there are only in the simulation; the cluster stays what it is."""
    seen: list[list[str]] = []

    def judge(asked: dict[str, Any]) -> Any:
        nodes = asked["Nodes"]["items"]
        seen.append(sorted(n["metadata"]["name"] for n in nodes))
        return {"Nodes": {"items": [n for n in nodes if n["metadata"]["name"] != "n1"]}}

    async with extended(Hook(filter=judge)) as cluster:
        pods = [meta.encode(pod(name, cpu="4")) for name in ("a", "b", "c")]
        request = pb.SimulateRequest(pods=pods, nodes=[meta.encode(node("n4"))], without=["n3"])
        found = await simulation(cluster.scheduler, lambda: [*NODES.values()], request)
        first, second, none = (p.node for p in found.placements)
        assert ({first, second}, none) == ({"n2", "n4"}, "")
        assert seen == [["n1", "n2", "n4"], sorted({"n1", "n2", "n4"} - {first}), ["n1"]]
        assert sorted(cluster.scheduler.snapshot.rows) == [*NODES]
        assert cluster.scheduler.snapshot.pod_count == 0


async def test_what_happens_while_an_extender_is_asked_is_not_missed() -> None:
    cluster: Cluster | None = None

    def slow(asked: dict[str, Any]) -> Any:
        assert cluster is not None
        if "new" not in asked["NodeNames"]:
            cluster.following.on_node(None, node("new"))
        return {"NodeNames": [n for n in asked["NodeNames"] if n == "new"]}

    async with extended(Hook(filter=slow), nodeCacheCapable=True) as made:
        cluster = made
        made.put(pod("a"))
        await made.until(lambda: made.bound == {"a": "new"})


async def test_a_pod_that_is_changed_while_an_extender_is_asked_is_tried_as_it_is_then() -> None:
    cluster: Cluster | None = None

    def slow(asked: dict[str, Any]) -> Any:
        assert cluster is not None
        if "changed" in asked["Pod"]["metadata"].get("labels", {}):
            return {"NodeNames": asked["NodeNames"]}
        cluster.put(pod("a", labels={"changed": "yes"}))
        return {"NodeNames": []}

    async with extended(Hook(filter=slow), nodeCacheCapable=True) as made:
        cluster = made
        made.put(pod("a"))
        await made.until(lambda: "a" in made.bound)
