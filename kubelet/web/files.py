"""/logs/: the node's own log files, as Go's file server shows a directory."""

import asyncio
import html
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from kubelet.web.pages import NOT_FOUND

HEAD = '<!doctype html>\n<meta name="viewport" content="width=device-width">\n<pre>\n'


class Files:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path, below = await asyncio.to_thread(self._find, request.path.removeprefix("/logs").strip("/"))
        if path is None:
            return web.Response(status=404, text=NOT_FOUND)
        if below is None:
            return web.FileResponse(path)
        if not request.path.endswith("/"):
            return web.Response(status=301, headers={"Location": f"{request.path.rpartition('/')[2]}/"})
        lines = "".join(f'<a href="{quote(name)}">{html.escape(name)}</a>\n' for name in below)
        return web.Response(text=f"{HEAD}{lines}</pre>\n", content_type="text/html")

    def _find(self, wanted: str) -> tuple[Path | None, list[str] | None]:
        """The file or directory, and what is in a directory. Nothing outside is shown, whatever links say."""
        root = self._directory.resolve()
        path = (root / wanted).resolve()
        if not path.is_relative_to(root):
            return None, None
        if path.is_dir():
            return path, sorted(f"{p.name}/" if p.is_dir() else p.name for p in path.iterdir())
        return (path, None) if path.is_file() else (None, None)
