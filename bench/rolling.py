"""A rolling update of five pods behind a Service, under 500 requests a second with a connection each: what is lost."""

import asyncio
import contextlib
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator

from bench.rest import Object, Rest, namespace
from bench.results import Result, result
from bench.workloads import deployment, is_ready, version_of

PODS, RATE = 5, 500
IMAGE = "hewon16/image1:1"
# On a node: at an even rate until its input ends, whether answers come or not.
LOAD = """
import asyncio, sys, time
host, rate = sys.argv[1], int(sys.argv[2])
answers, faults = 0, []
async def ask():
    global answers
    try:
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection(host, 80)
            writer.write(b"GET / HTTP/1.0\\r\\nHost: web\\r\\n\\r\\n")
            told = await reader.read()
            writer.close()
        assert b"200" in told.split(b"\\r\\n")[0], told
        answers += 1
    except Exception as e:
        faults.append(repr(e))
async def main():
    end = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    began, sent = time.monotonic(), 0
    print("asking", flush=True)
    async with asyncio.TaskGroup() as tasks:
        while not end.done():
            while began + sent / rate <= time.monotonic():
                tasks.create_task(ask())
                sent += 1
            await asyncio.sleep(0.002)
    print(answers, len(faults), time.monotonic() - began, *set(faults), flush=True)
asyncio.run(main())
"""


async def run(rest: Rest, project: str) -> list[Result]:
    async with namespace(rest) as ns:
        pods, deployments = f"/api/v1/namespaces/{ns}/pods", f"/apis/apps/v1/namespaces/{ns}/deployments"
        slices = f"/apis/discovery.k8s.io/v1/namespaces/{ns}/endpointslices"

        def all_of(version: str, items: dict[str, Object]) -> bool:
            return len(items) == PODS and all(is_ready(p) and version_of(p) == version for p in items.values())

        def served(items: dict[str, Object]) -> bool:
            return sum(bool(e["conditions"]["ready"]) for s in items.values() for e in s.get("endpoints") or []) == PODS

        await rest.request("POST", deployments, _web("a"))
        ports = [{"port": 80, "targetPort": 8080}]
        service = {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": ports}}
        made = await rest.request("POST", f"/api/v1/namespaces/{ns}/services", service)
        await rest.until(slices, served)
        async with _asking(project, made["spec"]["clusterIP"]) as load:
            await rest.request("PATCH", f"{deployments}/web", _web("b"), type_="merge-patch")
            await rest.until(pods, lambda items: all_of("b", items))
        answers, lost, seconds, *faults = load.told.split(" ", 3)
        if faults:
            print(*faults)
    return [result("rolling.lost", float(lost)), result("rolling.requests", int(answers) / float(seconds))]


def _web(version: str) -> Object:
    made = deployment("web", PODS, version)
    spec = made["spec"]["template"]["spec"]
    spec["terminationGracePeriodSeconds"] = 30
    # Without a probe a pod is ready when its process is started, which is before that listens.
    probe = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    spec["containers"][0] |= {"image": IMAGE, "command": ["/bin/echo-server"], "readinessProbe": probe}
    return made


class Load:
    """`told`: answers, lost, seconds, and what went wrong; once it has ended."""

    told = ""


@contextlib.asynccontextmanager
async def _asking(project: str, address: str) -> AsyncIterator[Load]:
    command = ("docker", "exec", "-i", f"{project}-node1-kubelet-1", "python3", "-c", LOAD, address, str(RATE))
    running = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    assert running.stdout is not None
    assert await running.stdout.readline() == b"asking\n"
    load = Load()
    yield load
    told, _ = await running.communicate(b"")  # the end of its input
    load.told = told.decode().strip()
