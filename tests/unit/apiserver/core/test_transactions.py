"""Writes to the real etcd: one transaction each, compared on the mod revision."""

import pytest

from apiserver.storage import keys
from apiserver.storage.compaction import Compactor
from apiserver.storage.etcd import Compacted, Etcd
from apiserver.storage.transactions import Changed, ClaimTaken, Store
from machinery.testing import FakeClock

KEY = b"/registry/services/default/a"
OTHER = b"/registry/services/default/b"


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
