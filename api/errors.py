"""What can go wrong with a request, named for the caller's situation.

    ApiError
    ├── BadRequest 400           the request cannot be understood
    ├── Unauthorized 401         nobody knows who asks
    ├── Forbidden 403            the asker may not, or an admission rule refuses
    ├── NotFound 404             no such object, or no such path
    ├── MethodNotAllowed 405     the resource does not have the verb
    ├── NotAcceptable 406        none of the representations asked for is served
    ├── AlreadyExists 409        the name is taken
    ├── Conflict 409             the object is not what the caller last saw
    ├── Expired 410              the revision or continue token is older than what is kept
    ├── TooLarge 413             the body is over the limit
    ├── UnsupportedMediaType 415
    ├── Invalid 422              well-formed, but breaks the rules of its kind
    ├── TooManyRequests 429      come back later
    ├── InternalError 500        a defect on the server's side
    ├── Unavailable 503          the server, or something it needs, is not there now
    └── Timeout 504              it took too long; whether it was done is not known

Each knows its Kubernetes `Status` (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/);
the gRPC status code of each stands in `GRPC_CODES`, and `from_status` is the way back.
"""

from typing import Any, ClassVar


class ApiError(Exception):
    """Any refusal of the API. `message` is complete and upstream's own; `details` is the Status's, or empty.

    Empty details that were given are written: upstream does so where it knows no object that the refusal is about.
    """

    code: ClassVar[int] = 500
    reason: ClassVar[str] = ""

    def __init__(self, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, Any] = details or {}
        self._has_details = details is not None

    def to_status(self) -> dict[str, Any]:
        """The Kubernetes Status object that a client receives."""
        status: dict[str, Any] = {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message,
        }  # fmt: skip
        if self.reason:
            status["reason"] = self.reason
        if self.details or self._has_details:
            status["details"] = self.details
        return status | {"code": self.code}


class BadRequest(ApiError):
    code, reason = 400, "BadRequest"


class Unauthorized(ApiError):
    code, reason = 401, "Unauthorized"


class Forbidden(ApiError):
    code, reason = 403, "Forbidden"


class NotFound(ApiError):
    code, reason = 404, "NotFound"


class MethodNotAllowed(ApiError):
    code, reason = 405, "MethodNotAllowed"


class NotAcceptable(ApiError):
    code, reason = 406, "NotAcceptable"


class AlreadyExists(ApiError):
    code, reason = 409, "AlreadyExists"


class Conflict(ApiError):
    code, reason = 409, "Conflict"


class Expired(ApiError):
    """`continue_`: the token with which a list that has become too old can go on, though inconsistently."""

    code, reason = 410, "Expired"

    def __init__(self, message: str, details: dict[str, Any] | None = None, *, continue_: str = "") -> None:
        super().__init__(message, details)
        self.continue_ = continue_

    def to_status(self) -> dict[str, Any]:
        status = super().to_status()
        return status | {"metadata": {"continue": self.continue_}} if self.continue_ else status


class TooLarge(ApiError):
    code, reason = 413, "RequestEntityTooLarge"


class UnsupportedMediaType(ApiError):
    code, reason = 415, "UnsupportedMediaType"


class Invalid(ApiError):
    code, reason = 422, "Invalid"


class TooManyRequests(ApiError):
    """`details["retryAfterSeconds"]` says when to come back."""

    code, reason = 429, "TooManyRequests"


class InternalError(ApiError):
    code, reason = 500, "InternalError"


class Unavailable(ApiError):
    code, reason = 503, "ServiceUnavailable"


class Timeout(ApiError):
    code, reason = 504, "Timeout"


ALL: tuple[type[ApiError], ...] = (
    BadRequest, Unauthorized, Forbidden, NotFound, MethodNotAllowed, NotAcceptable, AlreadyExists, Conflict, Expired,
    TooLarge, UnsupportedMediaType, Invalid, TooManyRequests, InternalError, Unavailable, Timeout,
)  # fmt: skip
UNANSWERED = (Unavailable, Timeout)
"""After these nobody knows whether a write was done."""
BY_REASON = {e.reason: e for e in ALL}
BY_CODE = {e.code: e for e in reversed(ALL)} | {409: Conflict}

# The names are those of grpc.StatusCode, as text so that this package needs no gRPC.
GRPC_CODES: dict[type[ApiError], str] = {
    BadRequest: "INVALID_ARGUMENT", Unauthorized: "UNAUTHENTICATED", Forbidden: "PERMISSION_DENIED",
    NotFound: "NOT_FOUND", MethodNotAllowed: "UNIMPLEMENTED", NotAcceptable: "INVALID_ARGUMENT",
    AlreadyExists: "ALREADY_EXISTS", Conflict: "ABORTED", Expired: "OUT_OF_RANGE", TooLarge: "RESOURCE_EXHAUSTED",
    UnsupportedMediaType: "INVALID_ARGUMENT", Invalid: "INVALID_ARGUMENT", TooManyRequests: "RESOURCE_EXHAUSTED",
    InternalError: "INTERNAL", Unavailable: "UNAVAILABLE", Timeout: "DEADLINE_EXCEEDED", ApiError: "UNKNOWN",
}  # fmt: skip


def from_status(status: dict[str, Any]) -> ApiError:
    """The error that a Status object with `status: Failure` stands for."""
    kind = BY_REASON.get(status.get("reason", "")) or BY_CODE.get(status.get("code", 0)) or ApiError
    return kind(status.get("message", ""), status.get("details"))


def no_such_resource() -> NotFound:
    """For a path, or a kind, that is not served."""
    return NotFound("the server could not find the requested resource", {})


def no_such_method() -> MethodNotAllowed:
    """For a verb that a resource does not have."""
    return MethodNotAllowed("the server does not allow this method on the requested resource", {})


def not_found(group_resource: str, name: str) -> NotFound:
    """`pods "x" not found`. `group_resource` as in Kind.group_resource."""
    plural, _, group = group_resource.partition(".")
    return NotFound(f'{group_resource} "{name}" not found', _about(name, group, plural))


def already_exists(group_resource: str, name: str) -> AlreadyExists:
    """`pods "x" already exists`."""
    plural, _, group = group_resource.partition(".")
    return AlreadyExists(f'{group_resource} "{name}" already exists', _about(name, group, plural))


def conflict(group_resource: str, name: str, why: str) -> Conflict:
    """`Operation cannot be fulfilled on pods "x": WHY`."""
    plural, _, group = group_resource.partition(".")
    return Conflict(f'Operation cannot be fulfilled on {group_resource} "{name}": {why}', _about(name, group, plural))


STALE = "the object has been modified; please apply your changes to the latest version and try again"


def forbidden(group_resource: str, name: str, why: str) -> Forbidden:
    """`pods "x" is forbidden: WHY`."""
    plural, _, group = group_resource.partition(".")
    return Forbidden(f'{group_resource} "{name}" is forbidden: {why}', _about(name, group, plural))


def _about(name: str, group: str, kind: str) -> dict[str, Any]:
    return {"name": name} | ({"group": group} if group else {}) | {"kind": kind}
