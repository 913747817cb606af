"""The edge between domain errors and gRPC: the status code that fits, and the Kubernetes Status beside it."""

import json
from typing import Any, NoReturn

import grpc
import msgspec

from api import errors

STATUS_KEY = "kubernetes-status-bin"


async def abort(context: grpc.aio.ServicerContext[Any, Any], error: errors.ApiError) -> NoReturn:
    """End the call with `error`; never returns."""
    kind = type(error) if type(error) in errors.GRPC_CODES else errors.BY_CODE.get(error.code, errors.ApiError)
    code = getattr(grpc.StatusCode, errors.GRPC_CODES[kind])
    await context.abort(code, error.message, ((STATUS_KEY, json.dumps(error.to_status()).encode()),))
    raise AssertionError("abort returned")


def from_rpc(error: grpc.aio.AioRpcError) -> errors.ApiError:
    """What the server meant; Unavailable if it could not be reached."""
    for key, value in error.trailing_metadata() or ():
        if key == STATUS_KEY:
            return errors.from_status(msgspec.json.decode(value))
    details = error.details() or error.code().name
    match error.code():
        # Our servers say themselves what went wrong, in the metadata above; these without it are the transport's own,
        # such as the INTERNAL of a message that was on its way when the connection broke.
        case (
            grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.CANCELLED | grpc.StatusCode.INTERNAL | grpc.StatusCode.UNKNOWN
        ):
            return errors.Unavailable(details)
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return errors.Timeout(details)
        case grpc.StatusCode.UNAUTHENTICATED:
            return errors.Unauthorized(details)
        case grpc.StatusCode.PERMISSION_DENIED:
            return errors.Forbidden(details)
        case grpc.StatusCode.NOT_FOUND:
            return errors.NotFound(details)
        case grpc.StatusCode.INVALID_ARGUMENT:
            return errors.BadRequest(details)
        case grpc.StatusCode.UNIMPLEMENTED:
            return errors.MethodNotAllowed(details)
    return errors.InternalError(details)
