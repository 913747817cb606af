"""Who the users of images are, as their files say."""

from kubelet.containers.accounts import Accounts
from kubelet.runtime.interfaces import Runtime

FILES = ("/etc/passwd", "/etc/group")
MOST = 64


class Users:
    """Of the images that were asked for last.  An image never changes, so each is read once."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._known: dict[str, Accounts] = {}

    async def of(self, image: str) -> Accounts:
        """By the image's id.  Raises EngineError."""
        found = self._known.pop(image, None)
        if found is None:
            found = Accounts(*(f.decode(errors="replace") for f in await self._runtime.files(image, FILES)))
        self._known[image] = found
        while len(self._known) > MOST:
            del self._known[next(iter(self._known))]
        return found
