"""What an image may be called.
https://kubernetes.io/docs/concepts/containers/images/#image-names
"""

import re

HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")
LONGEST = 255
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_HOST_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = rf"(?:{_HOST_PART}(?:\.{_HOST_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_TAG = r"[\w][\w.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_NAME = re.compile(rf"((?:{_HOST}/)?{_PART}(?:/{_PART})*)(?::({_TAG}))?(?:@({_DIGEST}))?", re.ASCII)
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")


class InvalidName(ValueError):
    """No image can be called that; the message says why in upstream's words."""


def tagged(image: str) -> str:
    """With the tag `latest` where it has neither a tag nor a digest.  Raises InvalidName."""
    repository, tag, digest = _parsed(image)
    if len(repository) > LONGEST:
        raise InvalidName(f"repository name must not be more than {LONGEST} characters")
    return image if tag or digest else f"{image}:latest"


def repository(image: str) -> str:
    """The full name without tag and digest.  Raises InvalidName."""
    return full_name(_parsed(image)[0])


def _parsed(image: str) -> tuple[str, str, str]:
    if _IDENTIFIER.fullmatch(image):
        raise InvalidName(f"invalid repository name ({image}), cannot specify 64-byte hexadecimal strings")
    if found := _NAME.fullmatch(image):
        return found[1], found[2] or "", found[3] or ""
    if image != image.lower() and (lower := _NAME.fullmatch(image.lower())):
        name = full_name(image).partition("@")[0].partition("/")[2]
        head, colon, tag = name.rpartition(":")
        name = head if colon and "/" not in tag else name
        if lower[1] and name != name.lower():
            raise InvalidName(f"invalid reference format: repository name ({name}) must be lowercase")
    raise InvalidName("invalid reference format")


def full_name(image: str) -> str:
    """With its registry, which an image of docker.io may leave out."""
    first, slash, rest = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        return f"docker.io/{rest}" if first in HUB else image
    return f"docker.io/{image}" if slash else f"docker.io/library/{image}"
