"""When a cron job runs. Pure.

https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ . Times are seconds since the epoch.
"""

from datetime import UTC, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from api import schedules, times
from api.schedules import Schedule
from api.types import CronJob

MANY = 100
MINUTE = 60.0


class NoSuchTime(Exception):
    """The schedule names a time that never comes, like the 31st of February."""


class Runs:
    """The times that a schedule names, by the clocks of a time zone."""

    def __init__(self, schedule: Schedule, zone: ZoneInfo | None = None) -> None:
        self._schedule = schedule
        self._zone = zone or UTC

    def after(self, moment: float) -> float:
        """The first one later than `moment`.  Raises NoSuchTime."""
        if self._schedule.every:
            return int(moment) + float(self._schedule.every)
        # With a field for seconds, which cron has not, the library does not run jobs of an hour that a change of the
        # clocks leaves out at another one: neither does upstream.
        text = " ".join(("0", *self._schedule.fields))
        try:
            return next(CronSim(text, datetime.fromtimestamp(int(moment), self._zone))).timestamp()
        except (CronSimError, StopIteration) as e:
            raise NoSuchTime(text) from e

    def last(self, known: float, now: float) -> float:
        """The latest one until `now`, of which `known` is an earlier one.  Raises NoSuchTime.

        By halves: there may be any number between the two, and to go through a year of minutes would take too long.
        """
        if self._schedule.every:
            return known + (now - known) // self._schedule.every * self._schedule.every
        low, high = known, now
        while high - low >= MINUTE:  # nothing runs more often, and nothing runs after `high`
            middle = (low + high) / 2
            found = self.after(middle)
            if found <= now:
                known, low = found, max(found, middle)
            else:
                high = middle
        return known


class Due(NamedTuple):
    """Where a cron job stands in its schedule."""

    run: float | None
    """The latest time that has come since its last run."""
    missed: int
    """About how many have come, that one included."""
    since: float
    """The time from which that was counted."""


def runs_of(job: CronJob) -> Runs:
    """Raises ValueError if the schedule is out of form, KeyError (ZoneInfoNotFoundError) if the zone is unknown."""
    zone = ZoneInfo(job.spec.timeZone) if job.spec.timeZone else None
    return Runs(schedules.parse(job.spec.schedule), zone)


def due(job: CronJob, runs: Runs, now: float, *, within_deadline: bool = True) -> Due:
    """Raises NoSuchTime."""
    since = times.parse(job.status.lastScheduleTime or job.metadata.creationTimestamp)
    if within_deadline and job.spec.startingDeadlineSeconds is not None:
        since = max(since, now - job.spec.startingDeadlineSeconds)
    first = runs.after(since)
    if now < first:
        return Due(None, 0, since)
    second = runs.after(first)
    if now < second:
        return Due(first, 1, since)
    # They are not counted one by one: the distance of the first two stands for all.
    missed = int((now - first) // (second - first)) + 1
    return Due(runs.last(first, now), missed, since)


def seconds_to_next(job: CronJob, runs: Runs, now: float) -> float:
    """Until the next run that has not been done.  Raises NoSuchTime."""
    found = due(job, runs, now, within_deadline=False)
    latest = found.run if found.run is not None else found.since if not found.missed else now
    return max(runs.after(latest) - now, 0.0)
