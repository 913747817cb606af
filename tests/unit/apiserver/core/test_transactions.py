"""Writes to the real etcd: one transaction each, compared on the mod revision."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from api import meta
from api.errors import Conflict
from api.types import Lease, LeaseSpec, ObjectMeta
from apiserver.storage import keys
from apiserver.storage.compaction import Compactor
from apiserver.storage.etcd import Compacted, Etcd
from apiserver.storage.tenures import CURRENT, Tenure
from apiserver.storage.transactions import Changed, ClaimTaken, Store
from machinery.testing import FakeClock

KEY = b"/registry/services/default/a"
OTHER = b"/registry/services/default/b"
LEASE = b"/registry/coordination.k8s.io/leases/kube-system/kube-scheduler"


async def test_an_object_is_created_once(store: Store) -> None:
    revision = await store.create(KEY, b"one")
    with pytest.raises(Changed) as refused:
        await store.create(KEY, b"two")
    assert refused.value.current == (b"one", revision)


async def test_an_update_needs_the_revision_that_stands_there(store: Store) -> None:
    first = await store.create(KEY, b"one")
    second = await store.update(KEY, b"two", first)
    with pytest.raises(Changed) as refused:
        await store.update(KEY, b"three", first)
    assert refused.value.current == (b"two", second)
    assert await store.get(KEY) == (b"two", second)


async def test_what_was_deleted_cannot_be_updated_nor_deleted_again(store: Store) -> None:
    first = await store.create(KEY, b"one")
    await store.delete(KEY, first)
    for again in (store.update(KEY, b"two", first), store.delete(KEY, first)):
        with pytest.raises(Changed) as refused:
            await again
        assert refused.value.current is None


async def test_a_taken_claim_is_told_apart_from_a_taken_name(store: Store) -> None:
    await store.create(KEY, b"one", ["serviceips/10.96.0.5"])
    with pytest.raises(ClaimTaken) as refused:
        await store.create(OTHER, b"two", ["serviceips/10.96.0.6", "serviceips/10.96.0.5"])
    assert (refused.value.claim, refused.value.holder) == ("serviceips/10.96.0.5", KEY.decode())
    with pytest.raises(Changed):
        await store.create(KEY, b"two", ["serviceips/10.96.0.5"])
    assert await store.get(keys.claim("serviceips/10.96.0.6")) is None


async def test_a_released_claim_can_be_made_by_another(store: Store) -> None:
    first = await store.create(KEY, b"one", ["nodeports/30001"])
    second = await store.update(KEY, b"two", first, ["nodeports/30002"], ["nodeports/30001"])
    await store.create(OTHER, b"other", ["nodeports/30001"])
    await store.delete(KEY, second, ["nodeports/30002"])
    assert await store.get(keys.claim("nodeports/30002")) is None


async def test_compaction_forgets_what_was_old_a_round_ago(etcd: Etcd, store: Store) -> None:
    compactor = Compactor(etcd, FakeClock())
    first = await store.create(KEY, b"one")
    await compactor.compact()
    await compactor.compact()
    second = await store.update(KEY, b"two", first)
    assert await compactor.compact()
    with pytest.raises(Compacted):
        await etcd.range(KEY, revision=first)
    assert (await etcd.range(KEY, revision=second)).kvs[0].value == b"two"


async def test_of_two_servers_one_compacts_in_a_round(etcd: Etcd) -> None:
    one, two = Compactor(etcd, FakeClock()), Compactor(etcd, FakeClock())
    await one.compact()
    await two.compact()
    assert await one.compact()
    assert not await two.compact()
    assert await one.compact()


@contextmanager
def leading(holder: str, since: str = "then") -> Iterator[None]:
    before = CURRENT.set(Tenure(LEASE, holder, since))
    try:
        yield
    finally:
        CURRENT.reset(before)


async def hold(store: Store, holder: str, since: str = "then") -> None:
    spec = LeaseSpec(holderIdentity=holder, acquireTime=since)
    value = meta.encode(Lease(metadata=ObjectMeta(name="kube-scheduler"), spec=spec))
    found = await store.get(LEASE)
    await (store.update(LEASE, value, found.revision) if found else store.create(LEASE, value))


async def test_a_leader_writes_while_it_leads_however_often_its_lease_is_renewed(store: Store) -> None:
    await hold(store, "a")
    with leading("a"):
        first = await store.create(KEY, b"one")
    await hold(store, "a")
    with leading("a"):
        second = await store.update(KEY, b"two", first)
        await store.update_together([(KEY, b"three", second)])
    await hold(store, "b")
    with leading("b"):
        await store.create(OTHER, b"other")
    found = await store.get(KEY)
    assert found is not None
    assert found.value == b"three"


async def test_a_leader_that_writes_over_another_is_told_what_stands_there(store: Store) -> None:
    await hold(store, "a")
    revision = await store.create(KEY, b"one", ["nodeports/30001"])
    with leading("a"):
        with pytest.raises(Changed) as refused:
            await store.update(KEY, b"two", revision - 1)
        assert refused.value.current == (b"one", revision)
        with pytest.raises(ClaimTaken):
            await store.create(OTHER, b"other", ["nodeports/30001"])
        with pytest.raises(Changed):
            await store.update_together([(KEY, b"two", revision - 1)])


@pytest.mark.parametrize(("successor", "since"), [("b", "then"), ("", "then"), ("a", "now")])
async def test_nothing_of_one_who_leads_no_more_is_written(store: Store, successor: str, since: str) -> None:
    await hold(store, "a")
    with leading("a"):
        revision = await store.create(KEY, b"one")
    await hold(store, successor, since)
    with leading(successor, since):
        if successor:
            revision = await store.update(KEY, b"one", revision)
    with leading("a"):
        for late in (
            store.update(KEY, b"two", revision), store.update_together([(KEY, b"two", revision)]),
            store.create(OTHER, b"other"), store.delete(KEY, revision),
        ):  # fmt: skip
            with pytest.raises(Conflict, match="is over"):
                await late
    assert await store.get(KEY) == (b"one", revision)
    assert await store.get(OTHER) is None


async def test_nothing_is_written_under_a_lease_that_is_not_there(store: Store) -> None:
    with leading("a"), pytest.raises(Conflict, match="is over"):
        await store.create(KEY, b"one")


async def test_it_is_etcd_that_looks_at_the_lease_while_it_writes(store: Store, etcd: Etcd) -> None:
    """Whoever took it has done so through another API server, of which this one knows nothing."""
    await hold(store, "a")
    with leading("a"):
        await store.create(KEY, b"one")
    await hold(Store(etcd), "b")
    with leading("a"), pytest.raises(Conflict):
        await store.create(OTHER, b"late")
