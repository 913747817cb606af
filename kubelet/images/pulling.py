"""Fetching images for all pods of the node: so many at a time, and each once for all who wait for it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from kubelet.images.credentials import Key
from kubelet.runtime.interfaces import EngineError, Image, RegistryUnavailable, Runtime
from machinery.clocks import Clock


@dataclass(frozen=True, slots=True)
class Pulled:
    image: Image
    key: Key | None  # what the registry was shown
    seconds: float  # without the wait for one's turn


@dataclass(slots=True)
class _Pull:
    """One pull and all who wait for it: the first in line does it, and if it leaves before the end, the next one."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0
    outcome: Pulled | EngineError | None = None


class Puller:
    """`at_once` is how many images are fetched at the same time; None is without a limit."""

    def __init__(self, runtime: Runtime, clock: Clock, at_once: int | None = 1) -> None:
        self._runtime = runtime
        self._clock = clock
        self._turns = asyncio.Semaphore(at_once) if at_once is not None else None
        self._pulls: dict[tuple[str, tuple[Key, ...]], _Pull] = {}

    async def pull(self, name: str, keys: Sequence[Key]) -> Pulled:
        """With each of the keys until one opens, without any where there are none.  Raises EngineError.

        Pods that show the same keys share a pull; another's success proves nothing for one that shows others.
        """
        which = name, tuple(keys)
        pull = self._pulls.setdefault(which, _Pull())
        pull.waiting += 1
        try:
            async with pull.turn:
                if pull.outcome is None:
                    pull.outcome = await self._in_turn(name, keys)
        finally:
            pull.waiting -= 1
            # One that comes after the outcome asks anew.
            if self._pulls.get(which) is pull and (pull.outcome is not None or not pull.waiting):
                del self._pulls[which]
        if isinstance(pull.outcome, EngineError):
            raise pull.outcome
        return pull.outcome

    async def _in_turn(self, name: str, keys: Sequence[Key]) -> Pulled | EngineError:
        if self._turns is None:
            return await self._fetch(name, keys)
        async with self._turns:
            return await self._fetch(name, keys)

    async def _fetch(self, name: str, keys: Sequence[Key]) -> Pulled | EngineError:
        began = self._clock.monotonic()
        refusals: list[EngineError] = []
        for key in keys or (None,):
            try:
                image = await self._runtime.pull(name, key.login if key is not None else None)
            except EngineError as e:
                refusals.append(e)
            else:
                return Pulled(image, key, self._clock.monotonic() - began)
        return _together(refusals)


def _together(refusals: Sequence[EngineError]) -> EngineError:
    said = list(dict.fromkeys(str(e) for e in refusals))
    if len(said) == 1 or isinstance(refusals[0], RegistryUnavailable):
        return refusals[0]
    return EngineError(f"[{', '.join(said)}]")
