"""Links in what is shown through a proxy, so that they lead through it again. Pure.

A page at /namespaces/x/pods/y/proxy/ that says href="/next" means its own server's /next; a browser would ask this one.
As upstream does it: https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/ .
"""

import html
import posixpath
import re
import zlib
from codecs import getincrementaldecoder
from collections.abc import Collection, Iterator
from typing import NamedTuple, Protocol
from urllib.parse import SplitResult, quote, unquote, urlsplit

SHOWN = {
    "a": ("href",), "applet": ("codebase",), "area": ("href",), "audio": ("src",), "base": ("href",),
    "blockquote": ("cite",), "body": ("background",), "button": ("formaction",), "command": ("icon",),
    "del": ("cite",), "embed": ("src",), "form": ("action",), "frame": ("longdesc", "src"), "head": ("profile",),
    "html": ("manifest",), "iframe": ("longdesc", "src"), "img": ("longdesc", "src", "usemap"),
    "input": ("src", "usemap", "formaction"), "ins": ("cite",), "link": ("href",),
    "object": ("classid", "codebase", "data", "usemap"), "q": ("cite",), "script": ("src",), "source": ("src",),
    "video": ("poster", "src"),
}  # fmt: skip
"""Which attributes of which elements are links."""
RAW = ("script", "style", "textarea", "title", "iframe", "noembed", "noframes", "xmp")
"""Elements in which a < begins nothing but their own end."""
TAG = re.compile(r"<([a-zA-Z][^\s/>]*)((?:[^>\"']++|\"[^\"]*\"|'[^']*')*+)>")
ATTRIBUTE = re.compile(r"([^\s\"'>/=]+)(\s*=\s*)(\"[^\"]*\"|'[^']*'|[^\s\"'>]+)")
LONGEST = 64 * 1024
"""Characters of a tag or a comment; what goes on for longer is none."""
PIECE = 64 * 1024
WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": -15}
"""zlib's names of the encodings that are undone and done again; what is encoded otherwise stays as it is."""
PATH = "/!$&'()*+,;=:@~%"


class Links(NamedTuple):
    """Where links lead: `prefix` is the path of the proxy, `ours` the host that the client asked for, `hosts` the other
    names of the server behind it."""

    prefix: str
    ours: str
    hosts: Collection[str] = ()

    def through(self, link: str) -> str:
        """The link as the client must follow it. What is relative, or leads elsewhere, stays as it is."""
        try:
            parts = urlsplit(link)
        except ValueError:
            return link
        if (parts.netloc and parts.netloc not in (self.ours, *self.hosts)) or not parts.path.startswith("/"):
            return link
        scheme, host = (parts.scheme, parts.netloc) if parts.netloc == self.ours else ("", "")
        return SplitResult(scheme, host, self._path(parts.path), parts.query, parts.fragment).geturl()

    def _path(self, path: str) -> str:
        plain = unquote(path)
        if plain.startswith(self.prefix):
            return path
        joined = posixpath.normpath(f"{self.prefix}/{plain.lstrip('/')}")
        return quote(joined + ("/" if plain.endswith("/") and joined != "/" else ""), safe=PATH.replace("%", ""))


class Page:
    """A page of HTML that comes in pieces."""

    def __init__(self, links: Links) -> None:
        self._links = links
        self._decoder = getincrementaldecoder("utf-8")("surrogateescape")
        self._pending = ""
        self._within = ""

    def feed(self, piece: bytes, *, last: bool = False) -> bytes:
        """What of the page is known to be complete."""
        self._pending += self._decoder.decode(piece, last)
        text = "".join(self._take())
        if last:
            text, self._pending = text + self._pending, ""
        return text.encode("utf-8", "surrogateescape")

    def _take(self) -> Iterator[str]:
        while self._pending:
            end = self._within_raw() if self._within else self._pending.find("<")
            yield self._cut(end if end >= 0 else len(self._pending))
            if not self._pending:
                return
            if self._within:
                if not self._pending.lower().startswith(f"</{self._within}"):
                    return  # its beginning may be
                self._within = ""
                yield self._cut(2)
            elif tag := TAG.match(self._pending):
                self._cut(tag.end())
                name = tag[1].lower()
                self._within = name if name in RAW and not tag[2].endswith("/") else ""
                yield self._tag(name, tag)
            elif (size := self._other()) and size > 0:
                yield self._cut(size)
            else:
                return

    def _within_raw(self) -> int:
        end = f"</{self._within}"
        found = self._pending.lower().find(end)
        return found if found >= 0 else max(len(self._pending) - len(end) + 1, 0)

    def _other(self) -> int:
        """How much of what begins with < and is no tag goes through as it is; 0 if it is not complete."""
        if self._pending.startswith("<!--"):
            end = self._pending.find("-->")
            return end + 3 if end >= 0 else self._too_long()
        if self._pending[1:2].isascii() and self._pending[1:2].isalpha():
            return self._too_long()
        # Of "<", "<!" and "<!-" it is not known yet what they are.
        return 0 if "<!--".startswith(self._pending) else 1

    def _too_long(self) -> int:
        return 1 if len(self._pending) > LONGEST else 0

    def _cut(self, size: int) -> str:
        taken, self._pending = self._pending[:size], self._pending[size:]
        return taken

    def _tag(self, name: str, tag: "re.Match[str]") -> str:
        if name not in SHOWN:
            return tag[0]

        def attribute(found: "re.Match[str]") -> str:
            if found[1].lower() not in SHOWN[name]:
                return found[0]
            quoted = found[3][0] in "\"'"
            link = html.unescape(found[3][1:-1] if quoted else found[3])
            through = self._links.through(link)
            return found[0] if through == link else f'{found[1]}{found[2]}"{html.escape(through)}"'

        return f"<{tag[1]}{ATTRIBUTE.sub(attribute, tag[2])}>"


class Rewriter(Protocol):
    def feed(self, piece: bytes, *, last: bool = False) -> bytes: ...


class Packed:
    """A page that comes compressed, and goes so."""

    def __init__(self, page: Page, window: int) -> None:
        self._page = page
        self._unpack = zlib.decompressobj(window)
        self._pack = zlib.compressobj(wbits=window)

    def feed(self, piece: bytes, *, last: bool = False) -> bytes:
        """Raises zlib.error for what is not compressed so."""
        found = bytearray()
        while piece:
            found += self._pack.compress(self._page.feed(self._unpack.decompress(piece, PIECE)))
            piece = self._unpack.unconsumed_tail
        if not last:
            return bytes(found) + self._pack.flush(zlib.Z_SYNC_FLUSH)
        rest = self._page.feed(self._unpack.flush(), last=True)
        return bytes(found) + self._pack.compress(rest) + self._pack.flush()


def rewriter(links: Links, content_type: str, encoding: str) -> Rewriter | None:
    """For an answer with these headers; None if nothing in it is to be changed."""
    if content_type.partition(";")[0].strip().lower() != "text/html":
        return None
    if encoding in ("", "identity"):
        return Page(links)
    return Packed(Page(links), WINDOWS[encoding]) if encoding in WINDOWS else None
