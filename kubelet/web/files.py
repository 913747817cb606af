"""/logs/: the node's own log files, as Go's file server shows a directory."""

import asyncio
import html
import os
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from kubelet.web.pages import NOT_FOUND

HEAD = '<!doctype html>\n<meta name="viewport" content="width=device-width">\n<pre>\n'


class Files:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            path, below = await asyncio.to_thread(self._find, request.path.removeprefix("/logs").strip("/"))
        except (OSError, ValueError, RuntimeError):  # no name of a file, links in a circle, or it has just gone
            path, below = None, None
        if path is None:
            return web.Response(status=404, text=NOT_FOUND)
        if below is None:
            return web.FileResponse(path)
        if not request.path.endswith("/"):
            return web.Response(status=301, headers={"Location": f"{request.path.rpartition('/')[2]}/"})
        lines = "".join(f'<a href="{quote(os.fsencode(name))}">{html.escape(name)}</a>\n' for name in below)
        page = os.fsencode(f"{HEAD}{lines}</pre>\n")  # names are bytes, and may be no text
        return web.Response(body=page, content_type="text/html", charset="utf-8")

    def _find(self, wanted: str) -> tuple[Path | None, list[str] | None]:
        """The file or directory, and what is in a directory. Nothing outside is shown, whatever links say."""
        root = self._directory.resolve()
        path = (root / wanted).resolve()
        if not path.is_relative_to(root):
            return None, None
        if path.is_dir():
            return path, sorted(f"{p.name}/" if p.is_dir() else p.name for p in path.iterdir())
        return (path, None) if path.is_file() else (None, None)
