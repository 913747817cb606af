"""Cron jobs: a job at each time of a schedule.

https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/
"""

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from api import errors, kinds, meta, times
from api.meta import Key
from api.types import CronJob, Job, ObjectMeta, ObjectReference
from controller_manager import schedules
from controller_manager.contexts import Context
from controller_manager.informing import Written
from controller_manager.refusals import namespace_is_going
from controller_manager.schedules import Runs
from machinery.controllers import Controller

SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"
TOO_MANY = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
MARGIN = 0.1
"""Seconds after a run is due that the clock is looked at again: timers are sometimes early."""


def new(context: Context) -> Controller:
    return CronJobController(context).controller


def job_at(cron_job: CronJob, moment: float) -> Job:
    """The job of the run at `moment`. Its name is the same for everybody, so that no run has two jobs."""
    template = meta.clone(cron_job.spec.jobTemplate)
    assert template is not None  # validation
    zone = ZoneInfo(cron_job.spec.timeZone) if cron_job.spec.timeZone else UTC
    at = datetime.fromtimestamp(moment, zone).isoformat().replace("+00:00", "Z")
    metadata = ObjectMeta(
        name=f"{cron_job.metadata.name}-{int(moment) // 60}", namespace=cron_job.metadata.namespace,
        labels=template.metadata.labels, annotations=template.metadata.annotations | {SCHEDULED: at},
        ownerReferences=[meta.controller_reference(cron_job)],
    )  # fmt: skip
    return Job(metadata=metadata, spec=template.spec)


def ended(job: Job) -> str:
    """Complete, Failed, or "" while it runs."""
    return next((t for t in ("Complete", "Failed") if meta.is_true(job, t)), "")


def surplus(jobs: Iterable[Job], outcome: str, limit: int | None) -> list[Job]:
    """The oldest of those with that outcome that exceed the limit."""
    if limit is None:
        return []
    found = sorted((j for j in jobs if ended(j) == outcome), key=lambda j: (j.status.startTime, j.metadata.name))
    return found[: max(len(found) - limit, 0)]


class CronJobController:
    """Its keys are cron jobs."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._events = context.recorder("cronjob-controller")
        self._cron_jobs = context.informers(CronJob)
        self._jobs = context.informers(Job, indexes=("controller",))
        self._written = Written(self._cron_jobs)
        self.controller = Controller(
            "cronjob-controller", self.reconcile, workers=context.config.concurrent_syncs,
            informers=(self._cron_jobs, self._jobs),
        )  # fmt: skip
        self._cron_jobs.on_change(self._cron_job_changed)
        self._jobs.on_change(self._job_changed)

    def _cron_job_changed(self, old: CronJob | None, new: CronJob | None) -> None:
        changed = old is not None and new is not None and _times(old) != _times(new)
        wait = self._until_next(new) if changed and new is not None else 0.0
        self.controller.queue.add_after(meta.key(new or old), wait)

    def _until_next(self, cron_job: CronJob) -> float:
        """Of a schedule that has just been changed: what it names before that moment was not missed."""
        try:
            return schedules.seconds_to_next(cron_job, schedules.runs_of(cron_job), self._clock.now()) + MARGIN
        except (KeyError, ValueError, schedules.NoSuchTime):
            return 0.0  # the reconciler says what is wrong with it

    def _job_changed(self, old: Job | None, new: Job | None) -> None:
        for job in (old, new):
            reference = meta.controller_of(job) if job is not None else None
            if job is not None and reference is not None and reference.kind == "CronJob":
                self.controller.queue.add(Key(job.metadata.namespace, reference.name))

    async def reconcile(self, key: Key) -> float | None:
        seen = self._cron_jobs.get(*key)
        if seen is None:
            return None
        before = self._written.newest(seen)
        cron_job = meta.clone(before)
        jobs = [j for j in self._jobs.by_index("controller", cron_job.metadata.uid) if not j.metadata.deletionTimestamp]
        await self._note_jobs(cron_job)
        await self._clean_up(cron_job, jobs)
        try:
            return await self._run(cron_job)
        finally:
            # What was started or found is noted whatever else went wrong: a run without its note would run again.
            if cron_job.status != before.status:
                with suppress(errors.NotFound):
                    self._written.note(await self._client.update_status(cron_job))

    # What its jobs do

    async def _note_jobs(self, cron_job: CronJob) -> None:
        status = cron_job.status
        jobs = {j.metadata.uid: j for j in self._jobs.by_index("controller", cron_job.metadata.uid)}
        active = {r.uid for r in status.active}
        for job in jobs.values():
            outcome = ended(job)
            if not outcome and job.metadata.uid not in active:
                said = f"Saw a job that the controller did not create or forgot: {job.metadata.name}"
                self._events.event(cron_job, "Warning", "UnexpectedJob", said)
            elif outcome and job.metadata.uid in active:
                _forget(cron_job, job.metadata.uid)
                said = f"Saw completed job: {job.metadata.name}, condition: {outcome}"
                self._events.event(cron_job, "Normal", "SawCompletedJob", said)
            if outcome == "Complete" and job.status.completionTime > status.lastSuccessfulTime:
                status.lastSuccessfulTime = job.status.completionTime
        for reference in [r for r in status.active if r.uid not in jobs]:
            if not await self._exists(reference):
                _forget(cron_job, reference.uid)
                said = f"Active job went missing: {reference.name}"
                self._events.event(cron_job, "Normal", "MissingJob", said)

    async def _exists(self, reference: ObjectReference) -> bool:
        """Whether the job is there, though the informer may not show it yet."""
        try:
            job = await self._client.get(Job, reference.name, reference.namespace)
        except errors.NotFound:
            return False
        return bool(job.metadata.uid == reference.uid)

    async def _clean_up(self, cron_job: CronJob, jobs: list[Job]) -> None:
        spec = cron_job.spec
        failed = surplus(jobs, "Failed", spec.failedJobsHistoryLimit)
        for job in (*surplus(jobs, "Complete", spec.successfulJobsHistoryLimit), *failed):
            await self._delete(cron_job, job.metadata.name, job.metadata.uid)

    async def _delete(self, cron_job: CronJob, name: str, uid: str) -> None:
        try:
            await self._client.delete(Job, name, cron_job.metadata.namespace, uid=uid, propagation="Background")
        except errors.NotFound:
            pass
        except errors.ApiError as e:
            self._events.event(cron_job, "Warning", "FailedDelete", f"Deleted job: {e.message}")
            raise
        else:
            self._events.event(cron_job, "Normal", "SuccessfulDelete", f"Deleted job {name}")
        _forget(cron_job, uid)

    # What its schedule says

    async def _run(self, cron_job: CronJob) -> float | None:
        """Start the run that is due; the seconds until the next one."""
        spec = cron_job.spec
        if cron_job.metadata.deletionTimestamp or spec.suspend:
            return None
        runs = self._runs(cron_job)
        if runs is None:
            return None
        now = self._clock.now()
        try:
            moment = self._due(cron_job, runs, now)
            if moment is not None:
                await self._start(cron_job, moment)
            return schedules.seconds_to_next(cron_job, runs, now) + MARGIN
        except schedules.NoSuchTime:
            said = f"invalid schedule: {spec.schedule} : time difference between two schedules is less than 1 second"
            self._events.event(cron_job, "Warning", "InvalidSchedule", said)
            return None

    def _runs(self, cron_job: CronJob) -> Runs | None:
        """None, with an event, if only another spec could help."""
        zone, schedule = cron_job.spec.timeZone, cron_job.spec.schedule
        try:
            return schedules.runs_of(cron_job)
        except KeyError:
            said = f'invalid timeZone: "{zone}": unknown time zone {zone}'
            self._events.event(cron_job, "Warning", "UnknownTimeZone", said)
        except ValueError as e:
            said = f'unparseable schedule: "{schedule}" : {e}'
            self._events.event(cron_job, "Warning", "UnparseableSchedule", said)
        return None

    def _due(self, cron_job: CronJob, runs: Runs, now: float) -> float | None:
        """The run to start now."""
        spec, status = cron_job.spec, cron_job.status
        found = schedules.due(cron_job, runs, now)
        moment = found.run
        if moment is None:
            return None
        if found.missed > schedules.MANY:
            self._events.event(cron_job, "Warning", "TooManyMissedTimes", TOO_MANY)
        if spec.startingDeadlineSeconds is not None and moment + spec.startingDeadlineSeconds < now:
            at = datetime.fromtimestamp(moment, UTC).strftime("%a, %d %b %Y %H:%M:%S +0000")
            self._events.event(cron_job, "Warning", "MissSchedule", f"Missed scheduled time to start a job: {at}")
            return None
        name = f"{cron_job.metadata.name}-{int(moment) // 60}"
        if any(r.name == name for r in status.active) or status.lastScheduleTime == times.format(moment):
            return None
        if spec.concurrencyPolicy == "Forbid" and status.active:
            said = "Not starting job because prior execution is running and concurrency policy is Forbid"
            self._events.event(cron_job, "Normal", "JobAlreadyActive", said)
            return None
        return moment

    async def _start(self, cron_job: CronJob, moment: float) -> None:
        if cron_job.spec.concurrencyPolicy == "Replace":
            for reference in [*cron_job.status.active]:
                await self._delete(cron_job, reference.name, reference.uid)
        job = await self._create(cron_job, job_at(cron_job, moment))
        if job is None:
            return
        kind, metadata = kinds.of(Job), job.metadata
        cron_job.status.active.append(
            ObjectReference(
                apiVersion=kind.api_version, kind=kind.name, name=metadata.name, namespace=metadata.namespace,
                uid=metadata.uid, resourceVersion=metadata.resourceVersion,
            )
        )  # fmt: skip
        cron_job.status.lastScheduleTime = times.format(moment)

    async def _create(self, cron_job: CronJob, wanted: Job) -> Job | None:
        """The job of the run, if it is this cron job's; made now, or before a status could be written."""
        name, namespace = wanted.metadata.name, wanted.metadata.namespace
        try:
            job = await self._client.create(wanted)
        except errors.AlreadyExists:
            job = await self._client.get(Job, name, namespace)
            return job if meta.is_controlled_by(job, cron_job) else None
        except errors.ApiError as e:
            if namespace_is_going(e):
                return None
            self._events.event(cron_job, "Warning", "FailedCreate", f"Error creating job: {e.message}")
            raise
        self._events.event(cron_job, "Normal", "SuccessfulCreate", f"Created job {name}")
        return job


def _times(cron_job: CronJob) -> object:
    return cron_job.spec.schedule, cron_job.spec.timeZone


def _forget(cron_job: CronJob, uid: str) -> None:
    cron_job.status.active = [r for r in cron_job.status.active if r.uid != uid]
