"""URLs, as Go's net/url reads them."""

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, quote, unquote, urlsplit

from machinery.cel.faults import EvaluationFault
from machinery.cel.libraries.declaring import Declared, function, member
from machinery.cel.types import BOOL, STRING, URL, listed, mapped

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:")
_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2})(.{0,2})")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_HOST = re.compile(r"(?:[^@]*@)?(?P<host>\[[0-9a-fA-F:.%]*\]|[^:\[\]]*)(?P<port>:\d*)?")
PATH_SAFE = "/!$&'()*+,;=:@%-._~"


@dataclass(frozen=True, slots=True)
class Url:
    cel_type = "kubernetes.URL"
    scheme: str
    host: str
    hostname: str
    port: str
    path: str
    query: str


def parse(text: str) -> Url:
    """An absolute URI or an absolute path.  Raises EvaluationFault."""
    try:
        return _parse(text)
    except ValueError as e:
        raise EvaluationFault(f'URL parse error during conversion from string: parse "{text}": {e}') from e


def _parse(text: str) -> Url:
    if _CONTROLS.search(text):
        raise ValueError("net/url: invalid control character in URL")
    if not text:
        raise ValueError("empty url")
    if text.startswith(":"):
        raise ValueError("missing protocol scheme")
    if not _SCHEME.match(text) and not text.startswith("/"):
        raise ValueError("invalid URI for request")
    parts = urlsplit(text)
    if wrong := _ESCAPE.search(parts.path):
        raise ValueError(f'invalid URL escape "%{wrong[1]}"')
    host = parts.netloc.rpartition("@")[2]
    found = _HOST.fullmatch(parts.netloc)
    if not found:
        port = host[host.find(":") :] if ":" in host else host
        raise ValueError(f'invalid port "{port}" after host')
    if parts.scheme and not parts.netloc and not parts.path.startswith("/"):
        raise ValueError("invalid URI for request")
    hostname = found["host"].strip("[]")
    port = (found["port"] or "").removeprefix(":")
    return Url(parts.scheme.lower(), host, hostname, port, parts.path, parts.query)


def _is_url(text: str) -> bool:
    try:
        parse(text)
    except EvaluationFault:
        return False
    return True


def _escaped_path(url: Url) -> str:
    escaped = quote(url.path, safe=PATH_SAFE)
    return escaped if unquote(escaped) == unquote(url.path) else quote(unquote(url.path), safe=PATH_SAFE)


def _query(url: Url) -> dict[str, list[str]]:
    return parse_qs(url.query, keep_blank_values=True)


OVERLOADS: list[Declared] = [
    function("url", "string_to_url", (STRING,), URL, parse),
    function("isURL", "is_url_string", (STRING,), BOOL, _is_url),
    member("getScheme", "url_get_scheme", (URL,), STRING, lambda u: u.scheme),
    member("getHost", "url_get_host", (URL,), STRING, lambda u: u.host),
    member("getHostname", "url_get_hostname", (URL,), STRING, lambda u: u.hostname),
    member("getPort", "url_get_port", (URL,), STRING, lambda u: u.port),
    member("getEscapedPath", "url_get_escaped_path", (URL,), STRING, _escaped_path),
    member("getQuery", "url_get_query", (URL,), mapped(STRING, listed(STRING)), _query),
]
