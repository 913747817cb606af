"""Executing one plug-in: words in its environment, documents on its standard input and output.
https://www.cni.dev/docs/spec/#section-2-execution-protocol
"""

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubelet.network.cni.configurations import Document

SECONDS = 120.0


class PluginFailed(OSError):
    """The message is upstream's, with the plug-in's own at its end."""


@dataclass(frozen=True, slots=True)
class Call:
    """What all plug-ins of a list are told. `namespace` is "" if it is gone already."""

    container: str = ""
    namespace: str = ""
    interface: str = ""
    arguments: str = ""

    def environment(self, verb: str, path: tuple[str, ...]) -> dict[str, str]:
        told = {
            "CNI_CONTAINERID": self.container,
            "CNI_NETNS": self.namespace,
            "CNI_IFNAME": self.interface,
            "CNI_ARGS": self.arguments,
        }
        return {**os.environ, "CNI_COMMAND": verb, "CNI_PATH": ":".join(path), **{k: v for k, v in told.items() if v}}


async def execute(verb: str, call: Call, configuration: Document, path: tuple[str, ...]) -> dict[str, Any]:
    """What the plug-in answers, {} if nothing.  Raises PluginFailed."""
    kind, name = configuration["type"], configuration["name"]
    try:
        return await _execute(verb, call, configuration, path)
    except OSError as e:
        raise PluginFailed(f'plugin type="{kind}" name="{name}" failed ({verb.lower()}): {e}') from e


async def _execute(verb: str, call: Call, configuration: Document, path: tuple[str, ...]) -> dict[str, Any]:
    pipe = asyncio.subprocess.PIPE
    running = await asyncio.create_subprocess_exec(
        find(configuration["type"], path), stdin=pipe, stdout=pipe, stderr=pipe, env=call.environment(verb, path)
    )
    try:
        async with asyncio.timeout(SECONDS):
            output, errors = await running.communicate(json.dumps(configuration).encode())
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()
    if running.returncode:
        raise PluginFailed(_fault(output, errors, running.returncode))
    return _document(output)


def find(kind: str, path: tuple[str, ...]) -> str:
    """The program of that name.  Raises PluginFailed."""
    if "/" not in kind:
        for directory in path:
            program = Path(directory) / kind
            if program.is_file():
                return str(program)
    raise PluginFailed(f'failed to find plugin "{kind}" in path [{" ".join(path)}]')


def _document(output: bytes) -> dict[str, Any]:
    try:
        found = json.loads(output) if output.strip() else {}
    except ValueError as e:
        raise PluginFailed(f"the plugin's answer is no JSON: {e}") from e
    if not isinstance(found, dict):
        raise PluginFailed("the plugin's answer is no JSON object")
    return found


def _fault(output: bytes, errors: bytes, code: int) -> str:
    """https://www.cni.dev/docs/spec/#error"""
    try:
        told: Any = json.loads(output)
    except ValueError:
        told = None
    if isinstance(told, Mapping) and told.get("msg"):
        return f"{told['msg']}; {told['details']}" if told.get("details") else str(told["msg"])
    if said := (output + errors).decode(errors="replace").strip():
        return f'netplugin failed: "{said}"'
    return f"netplugin failed with no error message: exit status {code}"
