"""What every engine must do: one suite over all of them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kubelet.runtime.docker import Docker
from kubelet.runtime.interfaces import (
    CLUSTER,
    CONTAINER,
    NODE,
    POD_UID,
    Amounts,
    Change,
    EngineError,
    LogOptions,
    NoSuchContainer,
    Process,
    Record,
    Runtime,
    Spec,
    State,
)  # fmt: skip
from kubelet.runtime.simulated import Simulated

IMAGE = "busybox:1.35"


@pytest.fixture(params=["docker", "simulated"])
async def runtime(request: pytest.FixtureRequest, cluster: str) -> AsyncIterator[Runtime]:
    made = (Docker if request.param == "docker" else Simulated)(
        *(("unix:///var/run/docker.sock",) if request.param == "docker" else ()), cluster, "node1"
    )
    yield made
    made.close()
    await asyncio.sleep(0)


@pytest.fixture
def spec(cluster: str) -> Any:
    def make(*command: str, name: str = "main", **fields: Any) -> Spec:
        labels = {CLUSTER: cluster, NODE: "node1", POD_UID: "u1", CONTAINER: name}
        return Spec(
            name=f"{cluster}_{name}", image=IMAGE, labels=labels, entrypoint=command or ("sleep", "1000"), arguments=(),
            network="none", **fields,
        )  # fmt: skip

    return make


async def until(runtime: Runtime, container: str, state: State) -> Record:
    async with asyncio.timeout(10):
        async for _ in runtime.changes():
            record = await runtime.inspect(container)
            if record.state is state:
                return record
    raise AssertionError("the changes ended")


async def test_a_container_is_created_started_and_seen(runtime: Runtime, spec: Any) -> None:
    made = await runtime.create(spec())
    assert (await runtime.inspect(made)).state is State.CREATED
    await runtime.start(made)
    (record,) = await runtime.containers()
    assert (record.id, record.state, record.name, record.uid) == (made, State.RUNNING, "main", "u1")
    assert record.pid > 0
    assert record.started_at >= record.created_at > 0
    assert record.image == IMAGE
    assert record.image_id.startswith("sha256:")


@pytest.mark.parametrize("code", [0, 3])
async def test_an_end_has_a_code_and_a_time(runtime: Runtime, spec: Any, code: int) -> None:
    made = await runtime.create(spec("sh", "-c", f"exit {code}"))
    await runtime.start(made)
    record = await until(runtime, made, State.EXITED)
    assert (record.exit_code, record.pid, record.ended) == (code, 0, True)
    assert record.finished_at >= record.started_at


async def test_a_killed_container_has_the_signals_code(runtime: Runtime, spec: Any) -> None:
    made = await runtime.create(spec())
    await runtime.start(made)
    await runtime.signal(made, "SIGKILL")
    assert (await until(runtime, made, State.EXITED)).exit_code == 137
    await runtime.signal(made, "SIGKILL")  # and once more: nothing happens


async def test_changes_are_told_after_a_first_relist(runtime: Runtime, spec: Any) -> None:
    seen: list[tuple[Change, str]] = []
    listening = asyncio.Event()

    async def listen() -> None:
        async for change in runtime.changes():
            seen.append(change)
            listening.set()
            if change[0] is Change.GONE:
                return

    task = asyncio.create_task(listen())
    await asyncio.wait_for(listening.wait(), 10)
    made = await runtime.create(spec("sh", "-c", "exit 0"))
    await runtime.start(made)
    await until(runtime, made, State.EXITED)
    await runtime.remove(made)
    await asyncio.wait_for(task, 10)
    kinds = [change for change, container in seen if container in ("", made)]
    assert kinds == [Change.RELIST, Change.STARTED, Change.ENDED, Change.GONE]


async def test_removing_kills_and_is_no_error_twice(runtime: Runtime, spec: Any) -> None:
    made = await runtime.create(spec())
    await runtime.start(made)
    await runtime.remove(made)
    await runtime.remove(made)
    assert await runtime.containers() == []
    with pytest.raises(NoSuchContainer):
        await runtime.inspect(made)


async def test_a_name_is_taken_unless_its_holder_never_ran(runtime: Runtime, spec: Any) -> None:
    first = await runtime.create(spec())
    second = await runtime.create(spec())
    assert first != second
    await runtime.start(second)
    with pytest.raises(EngineError, match="is already in use"):
        await runtime.create(spec())


async def test_a_program_that_does_not_exist_leaves_the_reason(runtime: Runtime, spec: Any) -> None:
    made = await runtime.create(spec("/no/such/program"))
    with pytest.raises(EngineError, match="no such file or directory"):
        await runtime.start(made)
    record = await runtime.inspect(made)
    assert record.ended
    assert "no such file or directory" in record.error


async def test_logs_are_kept_and_cut(runtime: Runtime, spec: Any) -> None:
    made = await runtime.create(spec("sh", "-c", "echo one; echo two"))
    await runtime.start(made)
    await until(runtime, made, State.EXITED)
    assert b"".join([d async for _, d in runtime.logs(made, LogOptions())]) == b"one\ntwo\n"
    assert b"".join([d async for _, d in runtime.logs(made, LogOptions(tail=1, follow=True))]) == b"two\n"


async def test_a_process_is_executed_inside(runtime: Runtime, spec: Any) -> None:
    made = await runtime.create(spec())
    await runtime.start(made)
    async with runtime.execute(made, Process(("sh", "-c", "echo hello; exit 3"))) as stream:
        assert [piece async for piece in stream.output()] == [(1, b"hello\n")]
        assert await stream.exit_code() == 3
    async with runtime.execute(made, Process(("cat",), stdin=True)) as stream:
        await stream.write(b"over")
        await stream.close_input()
        assert b"".join([data async for _, data in stream.output()]) == b"over"


async def test_images_are_found_by_name(runtime: Runtime) -> None:
    found = await runtime.image(IMAGE)
    assert found is not None
    assert found.id.startswith("sha256:")


async def test_an_image_that_a_container_has_is_in_use(runtime: Runtime, spec: Any) -> None:
    made = await runtime.create(spec())
    assert (await runtime.inspect(made)).image_id in await runtime.used_images()
    assert (await runtime.inspect(made)).image_id in {image.id for image in await runtime.images()}


async def test_a_running_container_is_given_other_amounts(runtime: Runtime, spec: Any) -> None:
    made = await runtime.create(spec(cpu_shares=102, cpu_quota=10_000, memory=32 * 2**20))
    await runtime.start(made)
    assert (await runtime.inspect(made)).amounts == Amounts(102, 10_000, 32 * 2**20)
    await runtime.update(made, Amounts(204, 20_000, 64 * 2**20))
    assert (await runtime.inspect(made)).amounts == Amounts(204, 20_000, 64 * 2**20)


async def test_what_a_container_writes_is_counted(runtime: Runtime, spec: Any) -> None:
    made = await runtime.create(spec())
    await runtime.start(made)
    assert await runtime.written(made) >= 0
