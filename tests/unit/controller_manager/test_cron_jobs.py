"""Cron jobs at work, and the times that schedules name."""

from typing import Any

import pytest

from api import errors, schedules, times
from api.types import CronJob, CronJobSpec, Job, JobCondition, JobTemplateSpec, ObjectMeta
from controller_manager.schedules import NoSuchTime, due, runs_of
from machinery.testing import FakeClock
from tests.unit.controller_manager.batches import job, later
from tests.unit.controller_manager.making import NOW
from tests.unit.controller_manager.worlds import World, controllers, rest

CRON = "cronjob-controller"
# The clock starts on 2023-11-14 at 22:13:20.
TO_NEXT_MINUTE = 40


def cron_job(schedule: str = "* * * * *", **spec: Any) -> CronJob:
    spec.setdefault("concurrencyPolicy", "Allow")
    spec.setdefault("successfulJobsHistoryLimit", 3)
    spec.setdefault("failedJobsHistoryLimit", 1)
    template = JobTemplateSpec(metadata=ObjectMeta(labels={"a": "b"}), spec=job().spec)
    return CronJob(
        metadata=ObjectMeta(name="tick", namespace="default", creationTimestamp=times.format(NOW)),
        spec=CronJobSpec(schedule=schedule, jobTemplate=template, **spec),
    )


def names(world: World) -> list[str]:
    return sorted(j.metadata.name for j in world.all(Job) if not j.metadata.deletionTimestamp)


def name_at(text: str) -> str:
    return f"tick-{int(times.parse(text)) // 60}"


async def finish(world: World, name: str, outcome: str = "Complete") -> None:
    done = world.one(Job, name)
    done.status.conditions = [JobCondition(type=outcome, status="True")]
    done.status.completionTime = times.format(world.clock.now()) if outcome == "Complete" else ""
    done.status.startTime = times.format(world.clock.now())
    await world.update_status(done)
    await rest()


async def test_each_run_has_a_job_named_after_its_minute(world: World) -> None:
    async with controllers(world, CRON) as term:
        await world.create(cron_job())
        await rest()
        assert names(world) == []
        await later(world, term, TO_NEXT_MINUTE, "tick")
        name = name_at("2023-11-14T22:14:00Z")
        assert names(world) == [name]
        made = world.one(Job, name)
        assert made.metadata.labels == {"a": "b"}
        assert made.metadata.annotations == {"batch.kubernetes.io/cronjob-scheduled-timestamp": "2023-11-14T22:14:00Z"}
        assert made.metadata.ownerReferences[0].name == "tick"
        status = world.one(CronJob, "tick").status
        assert ([r.name for r in status.active], status.lastScheduleTime) == ([name], "2023-11-14T22:14:00Z")
        assert world.events("SuccessfulCreate") == [f"Created job {name}"]
        await later(world, term, 1, "tick")
        assert names(world) == [name]
        await finish(world, name)
        status = world.one(CronJob, "tick").status
        assert (status.active, status.lastSuccessfulTime) == ([], "2023-11-14T22:14:01Z")
        assert world.events("SawCompletedJob") == [f"Saw completed job: {name}, condition: Complete"]


@pytest.mark.parametrize(("policy", "alive"), [("Allow", 2), ("Forbid", 1), ("Replace", 1)])
async def test_what_happens_while_a_run_lasts(world: World, policy: str, alive: int) -> None:
    async with controllers(world, CRON) as term:
        await world.create(cron_job(concurrencyPolicy=policy))
        await later(world, term, TO_NEXT_MINUTE, "tick")
        [first] = names(world)
        await later(world, term, 60, "tick")
        assert len(names(world)) == alive
        assert (first in names(world)) == (policy != "Replace")
        said = "Not starting job because prior execution is running and concurrency policy is Forbid"
        assert (said in world.events("JobAlreadyActive")) == (policy == "Forbid")
        assert [r.name for r in world.one(CronJob, "tick").status.active] == names(world)


@pytest.mark.parametrize("zone", ["", "Etc/GMT-1"])
async def test_a_schedule_that_is_changed_makes_up_for_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    before = "30 22 * * *" if zone else "0 0 1 1 *"
    async with controllers(world, CRON) as term:
        await world.create(cron_job(before))
        await rest()
        await world.clock.advance(1000 - TO_NEXT_MINUTE if zone else 3600)
        waits: list[float] = []
        monkeypatch.setattr(term.controllers[0].queue, "add_after", lambda key, seconds: waits.append(seconds))
        changed = world.one(CronJob, "tick")
        changed.spec.schedule, changed.spec.timeZone = "20 23 * * *" if zone else "30 22 * * *", zone or None
        await world.update(changed)
        await rest()
        assert names(world) == []
        # At 22:29:20 the time was 22:20 by the clocks of the zone; at 23:13:20 it was 22:30. Both come tomorrow.
        assert waits == [pytest.approx(86400 - (560 if zone else 2600), abs=1)]
        await later(world, term, waits[0], "tick")
        assert names(world) == [name_at("2023-11-15T22:20:00Z" if zone else "2023-11-15T22:30:00Z")]


async def test_a_suspended_one_starts_nothing(world: World) -> None:
    async with controllers(world, CRON) as term:
        await world.create(cron_job(suspend=True))
        await later(world, term, 3600, "tick")
        assert names(world) == []


async def test_only_the_latest_of_missed_runs_is_made_up_for(world: World, clock: FakeClock) -> None:
    await world.create(cron_job())
    await clock.advance(600 + TO_NEXT_MINUTE)
    async with controllers(world, CRON):
        await rest()
        assert names(world) == [name_at("2023-11-14T22:24:00Z")]
        assert world.events("TooManyMissedTimes") == []


async def test_too_many_missed_runs_are_told_of(world: World, clock: FakeClock) -> None:
    await world.create(cron_job())
    await clock.advance(86400)
    async with controllers(world, CRON):
        await rest()
        assert len(names(world)) == 1
        [said] = world.events("TooManyMissedTimes")
        assert said.startswith("too many missed start times. Set or decrease .spec.startingDeadlineSeconds")


async def test_a_run_whose_deadline_is_over_is_left_out(world: World, clock: FakeClock) -> None:
    await world.create(cron_job("14 22 * * *", startingDeadlineSeconds=30))
    await clock.advance(TO_NEXT_MINUTE + 31)
    async with controllers(world, CRON):
        await rest()
        assert names(world) == []


async def test_only_so_many_finished_jobs_are_kept(world: World) -> None:
    async with controllers(world, CRON) as term:
        await world.create(cron_job(successfulJobsHistoryLimit=2, failedJobsHistoryLimit=0))
        await later(world, term, TO_NEXT_MINUTE, "tick")
        made = []
        for _ in range(4):
            [present] = [n for n in names(world) if n not in made]
            made.append(present)
            await finish(world, present)
            await later(world, term, 60, "tick")
        assert names(world)[:-1] == made[-2:]
        await finish(world, names(world)[-1], "Failed")
        assert names(world) == made[-2:]


async def test_a_run_whose_note_was_lost_is_not_run_twice(world: World) -> None:
    async with controllers(world, CRON) as term:
        await world.create(cron_job())
        await rest()
        world.refuse("update", "CronJob", errors.InternalError("broken"))
        await later(world, term, TO_NEXT_MINUTE, "tick")
        world.refusals.clear()
        await later(world, term, 0, "tick")
        assert len(names(world)) == 1
        assert [r.name for r in world.one(CronJob, "tick").status.active] == names(world)


async def test_a_missing_job_is_forgotten(world: World) -> None:
    async with controllers(world, CRON) as term:
        await world.create(cron_job())
        await later(world, term, TO_NEXT_MINUTE, "tick")
        [name] = names(world)
        await world.delete(Job, name, "default")
        await rest()
        assert world.one(CronJob, "tick").status.active == []
        assert world.events("MissingJob") == [f"Active job went missing: {name}"]


@pytest.mark.parametrize(
    ("spec", "reason"),
    [({"timeZone": "Nowhere/At_All"}, "UnknownTimeZone"), ({"schedule": "nonsense"}, "UnparseableSchedule"),
     ({"schedule": "59 23 31 2 *"}, "InvalidSchedule")],
)  # fmt: skip
async def test_a_spec_out_of_form_ends_in_an_event(world: World, spec: dict[str, str], reason: str) -> None:
    async with controllers(world, CRON) as term:
        await world.create(cron_job(**spec))
        await rest()
        assert len(world.events(reason)) == 1
        assert len(term.controllers[0].queue) == 0


# Schedules


@pytest.mark.parametrize(
    ("schedule", "zone", "after", "expected"),
    [
        ("*/15 * * * *", "", "2026-11-23T12:01:00Z", "2026-11-23T12:15:00Z"),
        ("0 9 * * mon-fri", "", "2026-11-20T09:00:00Z", "2026-11-23T09:00:00Z"),
        ("@daily", "", "2026-11-23T12:00:00Z", "2026-11-24T00:00:00Z"),
        ("@every 90m", "", "2026-11-23T12:00:00Z", "2026-11-23T13:30:00Z"),
        ("0 9 * * *", "Europe/Zurich", "2026-07-01T12:00:00Z", "2026-07-02T07:00:00Z"),
        ("0 9 * * *", "Europe/Zurich", "2026-12-01T12:00:00Z", "2026-12-02T08:00:00Z"),
        # Either of the two day fields is enough, unless one of them is a star.
        ("0 0 13 * fri", "", "2026-11-14T00:00:00Z", "2026-11-20T00:00:00Z"),
        ("0 0 */2 * 0", "", "2026-11-23T00:00:00Z", "2026-11-25T00:00:00Z"),
        # 02:30 does not exist on the day on which the clocks go forward.
        ("30 2 * * *", "Europe/Zurich", "2026-03-28T12:00:00Z", "2026-03-30T00:30:00Z"),
    ],
)  # fmt: skip
def test_the_time_after(schedule: str, zone: str, after: str, expected: str) -> None:
    runs = runs_of(cron_job(schedule, timeZone=zone))
    assert times.format(runs.after(times.parse(after))) == expected


def test_a_day_that_no_month_has_never_comes() -> None:
    with pytest.raises(NoSuchTime):
        runs_of(cron_job("0 0 31 2 *")).after(NOW)


def test_missed_runs_of_an_uneven_schedule_are_found() -> None:
    job_ = cron_job("30 6-16/4 * * 1-5")
    job_.status.lastScheduleTime = "2026-11-20T06:30:00Z"
    found = due(job_, runs_of(job_), times.parse("2026-11-22T12:00:00Z"))
    assert found.run == times.parse("2026-11-20T14:30:00Z")


@pytest.mark.parametrize(
    ("schedule", "last", "now", "expected"),
    [
        # More runs than anybody walks through, by the distance of the first two; and none on most days.
        ("*/10 9-17 * * 1-5", "2026-11-20T12:00:00Z", "2026-11-22T12:00:00Z", "2026-11-20T17:50:00Z"),
        ("*/10 9-17 * * 1-5", "2026-11-20T12:00:00Z", "2026-11-23T09:35:00Z", "2026-11-23T09:30:00Z"),
        ("* 0 1 1 *", "2025-12-31T12:00:00Z", "2026-11-23T12:00:00Z", "2026-01-01T00:59:00Z"),
        # Few runs by that distance, and very many in truth.
        ("* * * 1 *", "2020-01-31T23:58:00Z", "2026-11-23T12:00:00Z", "2026-01-31T23:59:00Z"),
        ("@every 7m", "2026-11-20T12:00:00Z", "2026-11-22T12:06:00Z", "2026-11-22T12:04:00Z"),
    ],
)  # fmt: skip
def test_the_latest_of_many_missed_runs_is_found(schedule: str, last: str, now: str, expected: str) -> None:
    job_ = cron_job(schedule)
    job_.status.lastScheduleTime = last
    found = due(job_, runs_of(job_), times.parse(now))
    assert times.format(found.run or 0) == expected


async def test_one_that_is_resumed_out_of_hours_makes_up_for_one_run(world: World, clock: FakeClock) -> None:
    # It is the night of Tuesday; by Saturday 300 runs have been missed, or so it seems from the first two.
    await world.create(cron_job("*/10 9-17 * * 2-5"))
    await clock.advance(4 * 86400)
    async with controllers(world, CRON) as term:
        await rest()
        for _ in range(5):
            await later(world, term, 1, "tick")
        assert names(world) == [name_at("2023-11-17T17:50:00Z")]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("* * *", "expected exactly 5 fields, found 3: [* * *]"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("a * * * *", 'failed to parse int from a: strconv.Atoi: parsing "a": invalid syntax'),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
        ("0 0 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("1/2/3 * * * *", "too many slashes: 1/2/3"),
        ("@often", "unrecognized descriptor: @often"),
        ("@every soon", 'failed to parse duration @every soon: time: invalid duration "soon"'),
    ],
)  # fmt: skip
def test_why_a_schedule_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        schedules.parse(text)
    assert str(refused.value) == why
