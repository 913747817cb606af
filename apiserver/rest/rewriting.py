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
# Whoever shows a page chooses what these are tried on, so that nothing is tried twice: what one part has taken is never
# given back to be taken by another (`+` and `*` that end in `+`), and no attempt begins in the middle of a name.
TAG = re.compile(r"<([a-zA-Z][^\s/>]*+)((?:[^>\"']++|\"[^\"]*+\"|'[^']*+')*+)>")
ATTRIBUTE = re.compile(r"(?<![^\s\"'>/=])([^\s\"'>/=]++)(\s*+=\s*+)(\"[^\"]*+\"|'[^']*+'|[^\s\"'>]++)")
ENDS = {name: re.compile(f"</{name}", re.IGNORECASE) for name in RAW}
LONGEST = 64 * 1024
"""Characters of a tag or a comment; what goes on for longer is none, and so much of it goes through as it is."""
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
        taken, at = [], 0
        for found, end in self._parts(self._pending):
            taken.append(found)
            at = end
        self._pending = self._pending[at:]
        if last:
            taken.append(self._pending)
            self._pending = ""
        return "".join(taken).encode("utf-8", "surrogateescape")

    def pieces(self, piece: bytes, *, last: bool = False) -> Iterator[bytes]:
        yield self.feed(piece, last=last)

    def _parts(self, text: str) -> Iterator[tuple[str, int]]:
        """Each part of the page as it is to be shown, and where it ends in `text`."""
        at = 0
        while at < len(text):
            begin = self._end_of_raw(text, at) if self._within else text.find("<", at)
            if begin < 0:
                begin = len(text)
            yield text[at:begin], begin
            at = begin
            if at == len(text):
                return
            if self._within:
                if not ENDS[self._within].match(text, at):
                    return  # its beginning may be
                self._within = ""
                end = at + 2
            elif tag := TAG.match(text, at):
                name, end = tag[1].lower(), tag.end()
                self._within = name if name in RAW and not tag[2].endswith("/") else ""
                yield self._tag(name, tag), end
                at = end
                continue
            elif (size := _other(text, at)) > 0:
                end = at + size
            else:
                return
            yield text[at:end], end
            at = end

    def _end_of_raw(self, text: str, at: int) -> int:
        """Where the end of the element begins, or may begin."""
        if found := ENDS[self._within].search(text, at):
            return found.start()
        return max(len(text) - len(self._within) - 1, at)

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


def _other(text: str, at: int) -> int:
    """How much of what begins with the < there and is no tag goes through as it is; 0 if it is not complete."""
    if text.startswith("<!--", at):
        end = text.find("-->", at)
        return end + 3 - at if end >= 0 else _too_long(text, at)
    following = text[at + 1 : at + 2]
    if following.isascii() and following.isalpha():
        return _too_long(text, at)
    # Of "<", "<!" and "<!-" it is not known yet what they are.
    return 0 if len(text) - at < len("<!--") and "<!--".startswith(text[at:]) else 1


def _too_long(text: str, at: int) -> int:
    return LONGEST if len(text) - at > LONGEST else 0


class Rewriter(Protocol):
    def pieces(self, piece: bytes, *, last: bool = False) -> Iterator[bytes]:
        """What is to be shown of the next piece of an answer, or of the end of it. Each of them is little work."""
        ...


class Packed:
    """A page that comes compressed, and goes so."""

    def __init__(self, page: Page, window: int) -> None:
        self._page = page
        self._unpack = zlib.decompressobj(window)
        self._pack = zlib.compressobj(wbits=window)

    def pieces(self, piece: bytes, *, last: bool = False) -> Iterator[bytes]:
        """A few bytes may hold a thousand times as many.  Raises zlib.error for what is not compressed so."""
        while piece:
            yield self._pack.compress(self._page.feed(self._unpack.decompress(piece, PIECE)))
            piece = self._unpack.unconsumed_tail
        if last:
            rest = self._page.feed(self._unpack.flush(), last=True)
            yield self._pack.compress(rest) + self._pack.flush()
        else:
            yield self._pack.flush(zlib.Z_SYNC_FLUSH)


def rewriter(links: Links, content_type: str, encoding: str) -> Rewriter | None:
    """For an answer with these headers; None if nothing in it is to be changed."""
    if content_type.partition(";")[0].strip().lower() != "text/html":
        return None
    if encoding in ("", "identity"):
        return Page(links)
    return Packed(Page(links), WINDOWS[encoding]) if encoding in WINDOWS else None
