import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from api import errors
from machinery.grpc_errors import STATUS_KEY, from_rpc


def rpc(code, trailing=()):
    return AioRpcError(code, Metadata(), Metadata(*trailing), "details")


@pytest.mark.parametrize("code", ["UNAVAILABLE", "CANCELLED", "INTERNAL", "UNKNOWN"])
def test_what_the_transport_says_means_that_the_server_is_away(code):
    assert isinstance(from_rpc(rpc(grpc.StatusCode[code])), errors.Unavailable)


def test_what_the_server_says_counts():
    status = b'{"kind":"Status","status":"Failure","reason":"InternalError","message":"a defect","code":500}'
    error = from_rpc(rpc(grpc.StatusCode.INTERNAL, ((STATUS_KEY, status),)))
    assert (type(error), error.message) == (errors.InternalError, "a defect")
