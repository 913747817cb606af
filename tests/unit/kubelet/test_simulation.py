"""The simulated engine: what its containers can be made to do, and how many nodes it can play."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from kubelet.config import parse
from kubelet.fleets import members
from kubelet.runtime import behaviours
from kubelet.runtime.behaviours import ANNOTATION, Behaviour, End, Misspelt
from kubelet.runtime.interfaces import (
    CLUSTER,
    CONTAINER,
    KIND,
    NODE,
    PAUSE,
    EngineError,
    EngineUnreachable,
    NoSuchImage,
    Process,
    Spec,
    State,
)  # fmt: skip
from kubelet.runtime.simulated import Engine, Simulated
from kubelet.usage.simulated import SimulatedGauge
from machinery.testing import FakeClock, settle


def spec(behaviour: str = "", node: str = "node1", name: str = "main", image: str = "app:1") -> Spec:
    labels = {CLUSTER: "c", NODE: node, CONTAINER: name}
    annotations = {ANNOTATION: behaviour}
    return Spec(name=f"{node}_{name}", image=image, labels=labels, annotations=annotations, entrypoint=("server",))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def runtime(clock: FakeClock) -> Any:
    made = Simulated("c", "node1", clock=clock)
    yield made
    made.close()


def test_annotations_say_what_a_container_does() -> None:
    assert behaviours.parse("") == Behaviour()
    text = "exit=3@5; never-ready; cpu=250m; memory=64Mi; disk=1Ki; start=0.2"
    assert behaviours.parse(text) == Behaviour(
        end=End(5, 3), never_ready=True, cpu=0.25, memory=64 * 2**20, disk=1024, start=0.2
    )
    assert behaviours.parse("oom@10").end == End(10, 137, out_of_memory=True)
    assert behaviours.parse("create-error=no space left").create_error == "no space left"


def test_one_container_of_a_pod_can_behave_otherwise() -> None:
    annotations = {ANNOTATION: "exit=1@1", f"{ANNOTATION}.web": "never-ready"}
    assert behaviours.of(annotations, "web") == Behaviour(never_ready=True)
    assert behaviours.of(annotations, "db").end == End(1, 1)
    assert behaviours.of({}, "db") == Behaviour()


@pytest.mark.parametrize("text", ["explode", "exit=a", "cpu=much", "start=", "never-ready=1", "create-error="])
def test_what_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(Misspelt):
        behaviours.parse(text)


async def test_a_container_ends_when_and_how_it_is_told(runtime: Simulated, clock: FakeClock) -> None:
    crash = await runtime.create(spec("exit=3@5"))
    eater = await runtime.create(spec("oom@5", name="eater"))
    for container in (crash, eater):
        await runtime.start(container)
    await settle()
    await clock.advance(4)
    await settle()
    assert (await runtime.inspect(crash)).running
    await clock.advance(1)
    await settle()
    ended, eaten = await runtime.inspect(crash), await runtime.inspect(eater)
    assert (ended.exit_code, ended.oom_killed, eaten.exit_code, eaten.oom_killed) == (3, False, 137, True)


async def test_the_engine_refuses_in_the_words_it_is_given(runtime: Simulated) -> None:
    with pytest.raises(EngineError, match="no space left"):
        await runtime.create(spec("create-error=no space left"))
    made = await runtime.create(spec("start-error=bad rootfs"))
    with pytest.raises(EngineError, match="bad rootfs"):
        await runtime.start(made)
    assert (await runtime.inspect(made)).error == "bad rootfs"
    with pytest.raises(EngineError, match="does not understand 'explode'"):
        await runtime.create(spec("explode", name="other"))


async def test_a_sandbox_outlives_the_containers_of_its_pod(runtime: Simulated, clock: FakeClock) -> None:
    sandbox = spec("exit=1@5")
    made = await runtime.create(replace(sandbox, labels=sandbox.labels | {KIND: PAUSE}))
    await runtime.start(made)
    await clock.advance(6)
    assert (await runtime.inspect(made)).running


async def test_images_that_are_missing_are_missing_everywhere(runtime: Simulated) -> None:
    runtime.engine.missing.add("r.example.com/*")
    assert await runtime.image("r.example.com/app:1") is None
    with pytest.raises(NoSuchImage):
        await runtime.create(spec(image="r.example.com/app:1"))
    with pytest.raises(EngineError, match="pull access denied"):
        await runtime.pull("r.example.com/app:1")
    assert (await runtime.pull("other/app:1")).names == ("other/app:1",)


async def test_a_container_that_is_never_ready_fails_every_question(runtime: Simulated) -> None:
    good, bad = await runtime.create(spec()), await runtime.create(spec("never-ready", name="bad"))
    for container in (good, bad):
        await runtime.start(container)
    codes = []
    for container in (good, bad):
        async with runtime.execute(container, Process(("true",))) as stream:
            assert [piece async for piece in stream.output()] == []
            codes.append(await stream.exit_code())
    assert codes == [0, 1]
    assert (runtime.is_healthy(good), runtime.is_healthy(bad)) == (True, False)


async def test_usage_is_what_it_is_set_to(runtime: Simulated, clock: FakeClock) -> None:
    made = await runtime.create(spec("cpu=500m; memory=10Mi; disk=4Ki"))
    await runtime.start(made)
    await clock.advance(10)
    gauge, pid = SimulatedGauge(runtime.engine), (await runtime.inspect(made)).pid
    figures = gauge.figures(pid, clock.now())
    assert figures is not None
    assert (figures.cpu.total, figures.memory.working_set) == (5_000_000_000, 10 * 2**20)
    assert await runtime.written(made) == 4096


async def test_starts_take_as_long_as_they_may(clock: FakeClock) -> None:
    runtime = Simulated("c", "node1", engine=Engine(clock, (0.1, 0.5), between=lambda least, most: most))
    made = await runtime.create(spec())
    starting = asyncio.create_task(runtime.start(made))
    await settle()
    await clock.advance(0.4)
    await settle()
    assert not starting.done()
    await clock.advance(0.1)
    await starting
    runtime.close()


async def test_an_engine_that_is_away_answers_nothing_and_loses_nothing(runtime: Simulated) -> None:
    made = await runtime.create(spec())
    await runtime.start(made)
    runtime.engine.reachable = lambda: False
    for question in (runtime.version(), runtime.containers(), runtime.inspect(made), runtime.images()):
        with pytest.raises(EngineUnreachable):
            await question
    runtime.engine.reachable = lambda: True
    assert (await runtime.inspect(made)).state is State.RUNNING


async def test_nodes_share_an_engine_and_see_their_own_containers_only() -> None:
    engine = Engine(FakeClock())
    one, two = Simulated("c", "node1", engine=engine), Simulated("c", "node2", engine=engine)
    mine, theirs = await one.create(spec()), await two.create(spec(node="node2"))
    assert ([r.id for r in await one.containers()], [r.id for r in await two.containers()]) == ([mine], [theirs])
    again = Simulated("c", "node1", engine=engine)  # a restarted kubelet
    assert [r.id for r in await again.containers()] == [mine]


def config(*flags: str) -> Any:
    return parse(["--kubeconfig", "/k", "--hostname-override", "sim", "--node-ip", "10.0.0.1", *flags])


def test_one_process_plays_many_nodes_each_with_its_own_names_and_ports() -> None:
    one = config("--runtime=simulated", "--simulated-start-latency=0.1..0.5", "--simulated-missing-images=a/*,b")
    assert members(one) == [one]
    assert (one.simulation.latency, one.simulation.missing) == ((0.1, 0.5), ("a/*", "b"))
    found = members(config("--runtime=simulated", "--simulated-nodes=3", "--port=20000", "--grpc-port=20001"))
    assert [(c.node, c.port, c.grpc_port, c.root.name) for c in found] == [
        ("sim-0", 20000, 20001, "sim-0"), ("sim-1", 20002, 20003, "sim-1"), ("sim-2", 20004, 20005, "sim-2"),
    ]  # fmt: skip
    assert len({c.images.records for c in found}) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        ["--simulated-nodes=2"],
        ["--runtime=simulated", "--simulated-nodes=0"],
        ["--simulated-start-latency=0.5..0.1"],
        ["--simulated-start-latency=soon"],
    ],
)
def test_simulations_that_make_no_sense_are_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        config(*wrong)
    assert "error:" in capsys.readouterr().err
