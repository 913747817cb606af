"""What a webhook's refusal, or its failure, becomes for the client."""

from typing import Any

import msgspec

from api.errors import ApiError, BadRequest, InternalError
from api.types import Status


class Refused(ApiError):
    """A Status of the webhook's own making: any code and reason."""

    def __init__(self, message: str, status: dict[str, Any]) -> None:
        super().__init__(message, status.get("details"))
        self._status = status
        self.code = status["code"]  # type: ignore[misc]  # other errors have one for their class
        self.reason = status.get("reason", "")  # type: ignore[misc]

    def to_status(self) -> dict[str, Any]:
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, **self._status}


def denied(name: str, status: Status | None) -> ApiError:
    """The Status that the webhook gave, as a refusal that says whose it is."""
    tree: dict[str, Any] = msgspec.to_builtins(status) if status is not None else {}
    message = f'admission webhook "{name}" denied the request'
    if told := tree.get("message") or tree.get("reason"):
        message += f": {told}"
    else:
        message += " without explanation"
    tree = {name: value for name, value in tree.items() if name not in ("kind", "apiVersion", "metadata")}
    tree |= {"status": "Failure", "message": message, "code": max(tree.get("code") or 0, 400)}
    return Refused(message, tree)


def failed(name: str, why: str) -> InternalError:
    """A webhook that could not be asked, and must be."""
    return internal(f'failed calling webhook "{name}": {why}')


def internal(why: str) -> InternalError:
    return InternalError(f"Internal error occurred: {why}", {"causes": [{"message": why}]})


def no_dry_run(name: str) -> BadRequest:
    return BadRequest(f'admission webhook "{name}" does not support dry run')
