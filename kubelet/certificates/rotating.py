"""A certificate that is asked for anew in good time, as upstream's certificate manager does it: when 70 to 90 % of its
life are over, at once if there is none or it does not say what it should, and again and again until there is another.

https://kubernetes.io/docs/tasks/tls/certificate-rotation/#understanding-the-certificate-rotation-configuration
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path

from cryptography import x509

from api import errors
from kubelet.certificates import asking
from kubelet.certificates.asking import NotIssued, Signer
from kubelet.certificates.stores import Store
from kubelet.pods.means import first
from machinery import certificates
from machinery.certificates import Subject
from machinery.client import Client
from machinery.clocks import Clock
from machinery.running import CannotGoOn

EARLIEST, SPREAD = 0.7, 0.2
"""Of a certificate's life. Spread, lest nodes that were made together ask together for ever."""
PAUSES, JITTER = (2.0, 4.0, 8.0, 16.0), 0.1
LAST_PAUSE = 32.0
BETWEEN = 1.0
"""Seconds from one certificate to the next at least: those of a signer whose certificates last no time are due at
once."""

log = logging.getLogger("certificates")


class Rotation:
    """`store` has what is in use; `wanted` says whose certificate that should be, None if that is not known yet."""

    def __init__(
        self, client: Client, signer: Signer, store: Store, wanted: Callable[[], Subject | None], clock: Clock,
        *, bootstrap: Path | None = None, draw: Callable[[], float] = random.random,
    ) -> None:  # fmt: skip
        """`bootstrap` is the kubeconfig that asks while there is no certificate.  Raises CannotGoOn."""
        self._client = client
        self._signer = signer
        self._store = store
        self._wanted = wanted
        self._clock = clock
        self._draw = draw
        self._bootstrap = bootstrap
        self._changed = asyncio.Event()
        self._there = asyncio.Event()
        self.failures = 0
        self.on_replaced: Callable[[x509.Certificate], None] = lambda old: None
        try:
            self.certificate = store.current()
        except (OSError, ValueError) as e:
            raise CannotGoOn(f"{store.path} holds no certificate with its key: {e}") from e
        if self.certificate is not None:
            self._there.set()

    async def there(self) -> None:
        """Returns when there has been a certificate."""
        await self._there.wait()

    def look_again(self) -> None:
        """What is wanted may have changed."""
        self._changed.set()

    async def run(self) -> None:
        """Until cancelled.  Raises CannotGoOn."""
        log.info("%s: Certificate rotation is enabled", self._signer.name)
        while True:
            await self._due()
            await self._renew()
            await self._clock.sleep(BETWEEN)

    async def _due(self) -> None:
        part = EARLIEST + SPREAD * self._draw()
        while True:
            self._changed.clear()
            wanted = self._wanted()
            if wanted is None:
                await self._changed.wait()
            elif (left := self._left(wanted, part)) > 0:
                await first(self._clock.sleep(left), self._changed.wait())
            else:
                return

    def _left(self, wanted: Subject, part: float) -> float:
        """Seconds until another certificate is due."""
        held = self.certificate
        if held is None or not certificates.says(held, wanted):
            return 0.0
        begins, ends = held.not_valid_before_utc.timestamp(), held.not_valid_after_utc.timestamp()
        return begins + part * (ends - begins) - self._clock.now()

    async def _renew(self) -> None:
        for pause in self._pauses():
            try:
                await self._ask()
            except (errors.ApiError, NotIssued, OSError, ValueError) as e:
                self.failures += 1
                log.warning("%s: no new certificate: %s", self._signer.name, e)
            else:
                return
            await self._clock.sleep(pause)

    def _pauses(self) -> Iterator[float]:
        for pause in PAUSES:
            yield pause * (1 + JITTER * self._draw())
        log.error("%s: Reached backoff limit, still unable to rotate certs", self._signer.name)
        while True:
            yield LAST_PAUSE

    async def _ask(self) -> None:
        """Raises ApiError, NotIssued; OSError, ValueError if it cannot be kept."""
        wanted = self._wanted()
        if wanted is None:
            raise NotIssued("unable to create a csr, no template available")
        self._give_up_expired()
        key = certificates.new_key()
        document = asking.document(self._signer, certificates.request(wanted, key))
        async with self._asker() as client:
            asked = await client.create(document, field_manager="kubelet")
            log.info("%s: waiting for %s to be issued", self._signer.name, asked.metadata.name)
            issued = await asking.issued(client, asked, self._clock, self._unwanted(wanted))
        old, self.certificate = self.certificate, self._store.keep(issued, key)
        if old is not None:
            self.on_replaced(old)
        self._there.set()
        log.info("%s: a new certificate lasts until %s", self._signer.name, self.certificate.not_valid_after_utc)

    def _asker(self) -> AbstractAsyncContextManager[Client]:
        if self.certificate is not None or self._bootstrap is None:
            return nullcontext(self._client)
        return asking.stranger(self._bootstrap)

    def _give_up_expired(self) -> None:
        """So that nobody shows it any more: who calls goes back to what the kubeconfig says."""
        if self.certificate is None or self.certificate.not_valid_after_utc.timestamp() > self._clock.now():
            return
        log.warning("%s: Current certificate is expired", self._signer.name)
        self._store.forget()
        self.certificate = None

    async def _unwanted(self, asked: Subject) -> None:
        """Raises NotIssued as soon as something else is wanted."""
        while self._wanted() == asked:
            self._changed.clear()
            await self._changed.wait()
        raise NotIssued("Certificate template changed after CSR submission")
