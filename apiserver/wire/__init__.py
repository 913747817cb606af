"""The protobuf encoding of Kubernetes objects, `application/vnd.kubernetes.protobuf`, to and from JSON documents."""

from apiserver.wire.envelopes import NotKnown, decode, encode, frame
from apiserver.wire.values import Malformed

__all__ = ["Malformed", "NotKnown", "decode", "encode", "frame"]
