"""Where webhooks are called: the form of a WebhookClientConfig, of admission and of conversion alike."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from api import names
from api.paths import Fault, Path, invalid, required

FORM = "; desired format: https://host[/path]"
Faults = Iterator[Fault]


def client_config(at: Path, config: Any) -> Faults:
    """Of a WebhookClientConfig of any group; None is an empty one."""
    url, service = (config.url, config.service) if config is not None else ("", None)
    if bool(url) == (service is not None):
        yield required(at, "exactly one of url or service is required")
    elif url:
        yield from _url(at.child("url"), url)
    else:
        yield from _service(at.child("service"), service)


def _url(at: Path, url: str) -> Faults:
    try:
        parts = urlsplit(url)
    except ValueError as e:
        yield required(at, f"url must be a valid URL: {e}{FORM}")
        return
    if parts.scheme != "https":
        yield invalid(at, parts.scheme, f"'https' is the only allowed URL scheme{FORM}")
    user, at_sign, host = parts.netloc.rpartition("@")
    if not host:
        yield invalid(at, "", f"host must be specified{FORM}")
    if at_sign:
        yield invalid(at, user, "user information is not permitted in the URL")
    if parts.fragment:
        yield invalid(at, parts.fragment, "fragments are not permitted in the URL")
    if parts.query:
        yield invalid(at, parts.query, "query parameters are not permitted in the URL")


def _service(at: Path, service: Any) -> Faults:
    if not service.name:
        yield required(at.child("name"), "service name is required")
    if not service.namespace:
        yield required(at.child("namespace"), "service namespace is required")
    yield from port(at.child("port"), service.port)
    yield from _url_path(at.child("path"), service.path or "")


def port(at: Path, value: int | None) -> Faults:
    if faults := names.port_number_faults(value or 0):
        yield invalid(at, value or 0, f"port is not valid: {', '.join(faults)}")


def _url_path(at: Path, path: str) -> Faults:
    if path in ("", "/"):
        return
    if path == "//":
        yield invalid(at, path, "segment[0] may not be empty")
        return
    if not path.startswith("/"):
        yield invalid(at, path, "must start with a '/'")
    for i, step in enumerate(path[1:].removesuffix("/").split("/")):
        if not step:
            yield invalid(at, path, f"segment[{i}] may not be empty")
            continue
        for why in names.dns_subdomain_faults(step):
            yield invalid(at, path, f"segment[{i}]: {why}")
