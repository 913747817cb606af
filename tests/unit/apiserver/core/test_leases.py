"""Events go by themselves; nothing else does."""

from apiserver.storage.etcd import Etcd
from apiserver.storage.leases import Leases
from apiserver.storage.transactions import Store
from machinery.testing import FakeClock

EVENT, OTHER = b"/registry/events/default/%d", b"/registry/pods/default/p"


async def lease_of(etcd: Etcd, key: bytes) -> int:
    return int((await etcd.range(key)).kvs[0].lease)


async def test_only_events_are_written_under_a_lease(etcd: Etcd, clock: FakeClock) -> None:
    store = Store(etcd, Leases(etcd, clock, 3600))
    revision = await store.create(EVENT % 1, b"{}")
    await store.create(OTHER, b"{}")
    first = await lease_of(etcd, EVENT % 1)
    assert first
    assert not await lease_of(etcd, OTHER)
    await store.update(EVENT % 1, b"{ }", revision)
    assert await lease_of(etcd, EVENT % 1) == first


async def test_events_of_a_minute_share_their_lease(etcd: Etcd, clock: FakeClock) -> None:
    store = Store(etcd, Leases(etcd, clock, 3600))
    for number, seconds in enumerate((0, 59, 2)):
        await clock.advance(seconds)
        await store.create(EVENT % number, b"{}")
    first, second, third = [await lease_of(etcd, EVENT % number) for number in range(3)]
    assert first == second != third


async def test_a_lease_that_etcd_has_forgotten_is_replaced(etcd: Etcd, clock: FakeClock) -> None:
    leases = Leases(etcd, clock, 3600)
    store = Store(etcd, leases)
    leases._lease, leases._until = 4711, clock.monotonic() + 60
    await store.create(EVENT % 1, b"{}")
    assert await lease_of(etcd, EVENT % 1) not in (0, 4711)
