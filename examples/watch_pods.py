"""Prints what happens to pods, as it happens.

    .venv/bin/python examples/watch_pods.py [NAMESPACE]         (all namespaces without one; Ctrl-C ends it)

Shows: an informer, which every controller of Wherry stands on.  It lists once, watches from there, and comes back by
itself when the connection or the API server was away: the handler only ever sees what changed.
"""

import asyncio
import sys
from contextlib import suppress

from api.meta import is_true, key
from api.types import Pod
from machinery.client import connect
from machinery.informers import Informer
from wherry.labs import Lab


def describe(pod: Pod) -> str:
    state = "Terminating" if pod.metadata.deletionTimestamp else pod.status.phase
    ready = "ready" if is_true(pod, "Ready") else "not ready"
    return f"{state:12} {ready:10} {pod.spec.nodeName if pod.spec else '':10} {pod.status.podIP}"


def show(old: Pod | None, new: Pod | None) -> None:
    if new is None:
        assert old is not None
        print(f"-  {key(old)}")
    elif old is None:
        print(f"+  {key(new)!s:50} {describe(new)}")
    elif describe(old) != describe(new):
        print(f"   {key(new)!s:50} {describe(new)}")


async def main(namespace: str = "") -> None:
    async with connect(Lab.from_environment().grpc_kubeconfig) as client:
        pods = Informer(client, Pod, namespace)
        pods.on_change(show)
        await pods.run()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
