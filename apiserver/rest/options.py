"""Query strings → the options of a verb, refused in upstream's words where they make no sense.

https://kubernetes.io/docs/reference/kubernetes-api/common-parameters/common-parameters/
"""

import re
from dataclasses import replace
from urllib.parse import parse_qsl

from api import paths
from api.errors import BadRequest
from api.paths import Fault, Path
from apiserver.requests import (
    DeleteOptions,
    ListOptions,
    Request,
    WatchOptions,
    check_propagation,
    page_limit,
    parse_delete_options,
)
from machinery.cel.faults import EvaluationFault
from machinery.cel.values import duration

Query = dict[str, str]
"""The first value of each parameter, as upstream reads them."""

NOTHING: Query = {}
DRY_RUNS = "dryRun"
PEOPLE = ("curl", "Wget", "Mozilla/5.0")
"""How the User-Agent begins of programs that show to a person what they get."""
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_LONGEST_MANAGER = 128
_LONGEST = 60.0
_MOST_DIGITS = 20


def parse(text: str) -> Query:
    """A raw query string → the first value of each parameter; every `dryRun` is kept, joined by commas."""
    if not text:
        return NOTHING
    found: Query = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        if name not in found:
            found[name] = value
        elif name == DRY_RUNS:
            found[name] += "," + value
    return found


def truth(query: Query, name: str) -> bool:
    """Absent is false; present is true unless it says `false` or `0`."""
    value = query.get(name)
    return value is not None and value.lower() not in ("false", "0")


def is_pretty(query: Query, user_agent: str) -> bool:
    """Whether the answer shall be indented: as the query says, else for those who show it to a person."""
    wish = query.get("pretty", "")
    return wish in _TRUE if wish else user_agent.startswith(PEOPLE)


def integer(query: Query, name: str) -> int:
    """0 when absent.  Raises BadRequest."""
    value = query.get(name)
    if value is None or value == "":
        return 0
    if not re.fullmatch(r"[+-]?[0-9]+", value):
        raise BadRequest(f'strconv.ParseInt: parsing "{value}": invalid syntax')
    # Python makes no integer of thousands of digits.
    number = int(value) if len(value.lstrip("+-0")) < _MOST_DIGITS else 2**63
    if not -(2**63) <= number < 2**63:
        raise BadRequest(f'strconv.ParseInt: parsing "{value}": value out of range')
    return number


def timeout(query: Query) -> float | None:
    """Seconds that a client gives the whole request; None if not less than any request has.  Raises BadRequest."""
    text = query.get("timeout", "")
    if not text:
        return None
    try:
        seconds = duration(text).nanos / 1e9
    except EvaluationFault as e:
        raise BadRequest(f"invalid timeout specified in the request URL - {e}") from e
    return seconds if 0 < seconds < _LONGEST else None


def page(query: Query) -> int:
    """How many objects a list may have at most; 0: all.  Raises BadRequest."""
    return page_limit(integer(query, "limit"), query.get("resourceVersion", ""), query.get("continue", ""))


def for_list(query: Query) -> ListOptions:
    """Raises BadRequest or Invalid."""
    if not query:
        return _EVERYTHING
    _check_list(query)
    integer(query, "timeoutSeconds")
    return ListOptions(
        label_selector=query.get("labelSelector", ""),
        field_selector=query.get("fieldSelector", ""),
        resource_version=query.get("resourceVersion", ""),
        resource_version_match=query.get("resourceVersionMatch", ""),
        limit=max(0, integer(query, "limit")),
        continue_=query.get("continue", ""),
    )


def for_watch(query: Query) -> WatchOptions:
    """Raises BadRequest or Invalid."""
    _check_watch(query)
    return WatchOptions(
        label_selector=query.get("labelSelector", ""),
        field_selector=query.get("fieldSelector", ""),
        resource_version=query.get("resourceVersion", ""),
        resource_version_match=query.get("resourceVersionMatch", ""),
        bookmarks=truth(query, "allowWatchBookmarks"),
        send_initial_events=truth(query, "sendInitialEvents") if "sendInitialEvents" in query else None,
        timeout_seconds=float(max(0, integer(query, "timeoutSeconds"))),
    )


def for_delete(query: Query, body: bytes) -> DeleteOptions:
    """From the body if there is one, else from the query.  Raises BadRequest or Invalid."""
    if body.strip():
        found = parse_delete_options(body)
        if _dry_run(query, "DeleteOptions"):
            found = replace(found, dry_run=True)
    else:
        orphans = truth(query, "orphanDependents") if "orphanDependents" in query else None
        found = DeleteOptions(
            grace_seconds=integer(query, "gracePeriodSeconds") if "gracePeriodSeconds" in query else None,
            propagation=query.get("propagationPolicy", "")
            or ("" if orphans is None else "Orphan" if orphans else "Background"),
            dry_run=_dry_run(query, "DeleteOptions"),
            cascading=orphans is False,
        )
        check_propagation(found.propagation)
    return found


def for_write(query: Query, request: Request, user_agent: str, patch_type: str = "") -> None:
    """Fill in what a create, update or patch takes from the query.  Raises Invalid."""
    apply = patch_type == "apply"
    kind = {"create": "CreateOptions", "update": "UpdateOptions"}.get(request.verb, "PatchOptions")
    request.dry_run = _dry_run(query, kind)
    manager = query.get("fieldManager", "")
    validation = query.get("fieldValidation", "")
    request.force = truth(query, "force")
    faults: list[Fault] = []
    if patch_type and not apply and "force" in query:
        faults.append(paths.forbidden(Path("force"), "may not be specified for non-apply patch"))
    if apply and not manager:
        faults.append(paths.required(Path("fieldManager"), "is required for apply patch"))
    if len(manager.encode()) > _LONGEST_MANAGER:
        faults.append(paths.too_long(Path("fieldManager"), _LONGEST_MANAGER))
    elif not manager.isprintable():
        faults.append(paths.invalid(Path("fieldManager"), manager, "should only contain printable characters"))
    if validation not in ("", "Ignore", "Strict", "Warn"):
        faults.append(paths.not_supported(Path("fieldValidation"), validation, ["", "Ignore", "Strict", "Warn"]))
    if faults:
        raise paths.refusal("meta.k8s.io", kind, "", faults)
    request.options = {n: v for n, v in (("fieldManager", manager), ("fieldValidation", validation)) if v}
    request.field_manager = manager or manager_of(user_agent)
    request.field_validation = validation or "Warn"


def manager_of(user_agent: str) -> str:
    """The field manager of a client that names none: its user agent up to the first slash."""
    return "".join(c for c in user_agent.split("/", 1)[0] if c.isprintable())[:_LONGEST_MANAGER] or "unknown"


_EVERYTHING = ListOptions()


def _dry_run(query: Query, kind: str) -> bool:
    values = query.get(DRY_RUNS)
    if values is None:
        return False
    if any(v != "All" for v in values.split(",")):
        fault = paths.not_supported(Path("dryRun"), values.split(","), ["All"])
        raise paths.refusal("meta.k8s.io", kind, "", [fault])
    return True


def _check_list(query: Query) -> None:
    match, path = query.get("resourceVersionMatch", ""), Path("resourceVersionMatch")
    version = query.get("resourceVersion", "")
    faults: list[Fault] = []
    if match:
        if not version:
            faults.append(paths.forbidden(path, "resourceVersionMatch is forbidden unless resourceVersion is provided"))
        if query.get("continue"):
            faults.append(paths.forbidden(path, "resourceVersionMatch is forbidden when continue is provided"))
        if match not in ("Exact", "NotOlderThan"):
            faults.append(paths.not_supported(path, match, ["Exact", "NotOlderThan", ""]))
        elif match == "Exact" and version == "0":
            why = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
            faults.append(paths.forbidden(path, why))
    if "sendInitialEvents" in query:
        faults.append(paths.forbidden(Path("sendInitialEvents"), "sendInitialEvents is forbidden for list"))
    if faults:
        raise paths.refusal("meta.k8s.io", "ListOptions", "", faults)


def _check_watch(query: Query) -> None:
    match, path = query.get("resourceVersionMatch", ""), Path("resourceVersionMatch")
    faults: list[Fault] = []
    if "sendInitialEvents" in query:
        if match != "NotOlderThan":
            why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            faults.append(paths.forbidden(path, why))
    elif match:
        why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        faults.append(paths.forbidden(path, why))
    if query.get("continue") and match:
        faults.append(paths.forbidden(path, "resourceVersionMatch is forbidden when continue is provided"))
    if faults:
        raise paths.refusal("meta.k8s.io", "ListOptions", "", faults)
