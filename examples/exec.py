"""Runs a command in a container, as `kubectl exec` does, and exits with its exit code.

    .venv/bin/python examples/exec.py [-n NAMESPACE] [-c CONTAINER] [-i] POD COMMAND [ARGUMENT ...]
    echo hello | .venv/bin/python examples/exec.py -i POD cat

Shows: the REST door's streaming protocol, v5.channel.k8s.io.  It is a WebSocket on which the first byte of every
message names a channel: 0 stdin, 1 stdout, 2 stderr, 3 how it ended (a Status), 255 the end of another channel.
https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/4006-transition-spdy-to-websockets
"""

import argparse
import asyncio
import json
import ssl
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlencode

import aiohttp

from machinery import kubeconfigs
from machinery.kubeconfigs import Access
from wherry.labs import Lab

PROTOCOL = "v5.channel.k8s.io"
STDIN, STDOUT, STDERR, ERROR, CLOSE = 0, 1, 2, 3, 255


def tls(access: Access) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=access.ca.decode())
    with TemporaryDirectory() as directory:  # Python reads client certificates from files only
        pair = Path(directory, "pair.pem")
        pair.touch(mode=0o600)
        pair.write_bytes(access.certificate + b"\n" + access.key)
        context.load_cert_chain(pair)
    return context


async def execute(asked: argparse.Namespace) -> int:
    """The command's exit code."""
    access = kubeconfigs.load(Lab.from_environment().kubeconfig)
    query = [("command", word) for word in asked.command] + [("stdout", "true"), ("stderr", "true")]
    query += [("stdin", "true")] * asked.stdin + [("container", asked.container)] * bool(asked.container)
    url = f"{access.server}/api/v1/namespaces/{asked.namespace}/pods/{asked.pod}/exec?{urlencode(query)}"
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, ssl=tls(access), protocols=(PROTOCOL,), max_msg_size=0) as socket,
    ):
        if asked.stdin:
            await socket.send_bytes(bytes([STDIN]) + sys.stdin.buffer.read())
            await socket.send_bytes(bytes([CLOSE, STDIN]))
        async for message in socket:
            channel, data = message.data[0], message.data[1:]
            if channel == ERROR:
                return exit_code(json.loads(data))
            if channel in (STDOUT, STDERR):
                stream = sys.stdout if channel == STDOUT else sys.stderr
                stream.buffer.write(data)
                stream.flush()
    print("the connection ended before the command did", file=sys.stderr)
    return 1


def exit_code(status: dict[str, Any]) -> int:
    if status.get("status") == "Success":
        return 0
    for cause in status.get("details", {}).get("causes", ()):
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    print(status.get("message", ""), file=sys.stderr)
    return 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", "--namespace", default="default")
    parser.add_argument("-c", "--container", default="", help="the pod's first container if it is not named")
    parser.add_argument("-i", "--stdin", action="store_true", help="send this program's input to the command")
    parser.add_argument("pod")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    try:
        sys.exit(asyncio.run(execute(parser.parse_args())))
    except aiohttp.ClientError as e:
        sys.exit(f"the API server refuses: {e}")
