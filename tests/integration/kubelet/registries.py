"""A registry of images on this machine's loopback, with one image, that asks who wants it."""

import base64
import gzip
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from machinery.testing import free_port

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
EMPTY_TAR = bytes(10_240)


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _blobs() -> tuple[bytes, dict[str, bytes]]:
    """The manifest, and what it names."""
    layer = gzip.compress(EMPTY_TAR, mtime=0)
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/none"]},
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


@asynccontextmanager
async def registry(user: str, password: str) -> AsyncIterator[str]:
    """Its address."""
    manifest, blobs = _blobs()
    expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    async def answer(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != expected:
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="test"'})
        *_, kind, reference = request.path.split("/")
        if kind == "manifests":
            headers = {"Docker-Content-Digest": _digest(manifest)}
            return web.Response(body=manifest, content_type=MANIFEST, headers=headers)
        return web.Response(body=blobs[reference]) if kind == "blobs" else web.Response()

    app = web.Application()
    app.router.add_get("/v2/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await runner.cleanup()
