"""Every process of the cluster is restarted, one by one, and neither clients nor traffic lose anything by it."""

import asyncio

from tests.chaos.labs import broken_lab
from tests.chaos.rolling import SPACE, WRITERS, parts, reported, roll
from wherry import masters
from wherry.labs import CLUSTER_LABEL


def test_a_rolling_restart_fails_no_request_and_ends_no_container() -> None:
    with broken_lab() as (lab, docker_engine):
        labels = [f"{CLUSTER_LABEL}={lab.name}", f"io.kubernetes.pod.namespace={SPACE}"]
        tally, inside, took = asyncio.run(roll(lab, docker_engine))
        running = docker_engine.containers.list(filters={"label": labels})
        restarted = [c.name for c in running if c.attrs["RestartCount"]]
    told = "\n".join(reported(tally, inside, took))
    print(told)
    assert list(took) == parts()
    assert not tally.failures, told
    assert not inside["failures"], told
    # etcd breaks off what is under way when it stops (with TLS it has no other way), and what waits for the election of
    # a new leader may wait too long: each client may meet both.
    members = masters.names("etcd")
    assert {each.partition(":")[0] for each in tally.unknown} <= set(members), told
    assert len(tally.unknown) + sum(inside["unknown"].values()) <= 2 * WRITERS * len(members), told
    assert min(tally.done["REST POST"], tally.done["gRPC"], inside["done"]["API POST"]) > 100, told
    assert inside["done"]["service"] > 500, told
    assert not restarted
