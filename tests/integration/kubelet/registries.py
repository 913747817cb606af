"""A registry of images on this machine's loopback, with one image under every name."""

import base64
import gzip
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from machinery.testing import free_port

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
EMPTY_TAR = bytes(10_240)


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _blobs(mark: str) -> tuple[bytes, dict[str, bytes]]:
    """The manifest, and what it names.  `mark` makes it another image than those of other registries."""
    layer = gzip.compress(EMPTY_TAR, mtime=0)
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/none"], "Labels": {"mark": mark}},
         "rootfs": {"type": "layers", "diff_ids": [_digest(EMPTY_TAR)]}}
    ).encode()  # fmt: skip
    manifest = {
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(config),
                   "digest": _digest(config)},
        "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": len(layer),
                    "digest": _digest(layer)}],
    }  # fmt: skip
    return json.dumps(manifest).encode(), {_digest(b): b for b in (layer, config)}


@dataclass
class Registry:
    """`user` and `password` are asked for where there is a user.  `refusal` is a status for every answer."""

    user: str = ""
    password: str = ""
    refusal: int = 0
    address: str = ""
    manifests: list[str] = field(default_factory=list)  # the images whose manifests were read, in order

    async def answer(self, request: web.Request) -> web.Response:
        manifest, blobs = _blobs(self.address)
        if self.refusal:
            return web.Response(status=self.refusal)
        expected = "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        if self.user and request.headers.get("Authorization") != expected:
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="test"'})
        *_, kind, reference = request.path.split("/")
        if kind == "manifests":
            self.manifests += [request.path] if request.method == "GET" else []
            headers = {"Docker-Content-Digest": _digest(manifest)}
            return web.Response(body=manifest, content_type=MANIFEST, headers=headers)
        return web.Response(body=blobs[reference]) if kind == "blobs" else web.Response()


@asynccontextmanager
async def registry(user: str = "", password: str = "") -> AsyncIterator[Registry]:
    made = Registry(user, password)
    app = web.Application()
    app.router.add_get("/v2/{path:.*}", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    made.address = f"127.0.0.1:{port}"
    try:
        yield made
    finally:
        await runner.cleanup()
