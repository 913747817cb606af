"""Jobs at work."""

import pytest

from api import errors, meta
from api.types import (
    Job,
    Pod,
    PodFailurePolicy,
    PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyOnPodConditionsPattern,
    PodFailurePolicyRule,
    SuccessPolicy,
    SuccessPolicyRule,
    UncountedTerminatedPods,
)
from controller_manager.job_pods import FAILURES, IGNORED, INDEX, TRACKING
from tests.unit.controller_manager.batches import conditions, end, job, later, running
from tests.unit.controller_manager.making import make_ready
from tests.unit.controller_manager.worlds import World, controllers, rest

JOBS = "job-controller"


def policy(action: str, *, codes: tuple[int, ...] = (), condition: str = "") -> PodFailurePolicy:
    on_codes = PodFailurePolicyOnExitCodesRequirement(operator="In", values=list(codes)) if codes else None
    patterns = [PodFailurePolicyOnPodConditionsPattern(type=condition, status="True")] if condition else []
    return PodFailurePolicy(rules=[PodFailurePolicyRule(action=action, onExitCodes=on_codes, onPodConditions=patterns)])


async def test_a_job_runs_its_pods_and_is_complete(world: World) -> None:
    async with controllers(world, JOBS):
        await world.create(job(completions=3, parallelism=2))
        await rest()
        pods = running(world)
        assert len(pods) == 2
        assert all(p.metadata.generateName == "work-" and p.metadata.finalizers == [TRACKING] for p in pods)
        await make_ready(world, *pods)
        await rest()
        status = world.one(Job, "work").status
        assert (status.active, status.ready, status.startTime) == (2, 2, "2023-11-14T22:13:20Z")
        await end(world, pods)
        assert len(running(world)) == 1
        await end(world, running(world))
        done = world.one(Job, "work")
        assert conditions(done) == [("SuccessCriteriaMet", "CompletionsReached"), ("Complete", "CompletionsReached")]
        assert (done.status.succeeded, done.status.failed, done.status.active) == (3, 0, 0)
        assert done.status.completionTime
        assert not any(p.metadata.finalizers for p in world.all(Pod))
        assert world.events("Completed") == ["Job completed"]
        assert len(world.events("SuccessfulCreate")) == 3


async def test_a_job_at_rest_writes_nothing(world: World) -> None:
    async with controllers(world, JOBS) as term:
        await world.create(job())
        await rest()
        world.writes.clear()
        await later(world, term, 1)
        assert world.writes == []


async def test_a_work_queue_is_done_when_its_pods_have_ended_after_a_success(world: World) -> None:
    async with controllers(world, JOBS):
        await world.create(job(completions=None, parallelism=3))
        await rest()
        first, *others = running(world)
        await end(world, [first])
        assert len(running(world)) == 2
        await end(world, others)
        assert world.one(Job, "work").status.succeeded == 3
        assert conditions(world.one(Job, "work"))[-1][0] == "Complete"


async def test_failed_pods_are_replaced_after_ever_longer_pauses(world: World) -> None:
    async with controllers(world, JOBS) as term:
        await world.create(job())
        await rest()
        for pause in (10, 20, 40):
            await end(world, running(world), code=1)
            assert running(world) == []
            await later(world, term, pause - 1)
            assert running(world) == []
            await later(world, term, 1)
            assert len(running(world)) == 1
        assert world.one(Job, "work").status.failed == 3


async def test_a_pause_survives_the_controller(world: World) -> None:
    async with controllers(world, JOBS):
        await world.create(job())
        await rest()
        await end(world, running(world), code=1)
    async with controllers(world, JOBS) as term:
        await rest()
        assert running(world) == []
        await later(world, term, 10)
        assert len(running(world)) == 1


async def test_too_many_failures_end_the_job(world: World) -> None:
    async with controllers(world, JOBS):
        await world.create(job(completions=2, parallelism=2, backoffLimit=0))
        await rest()
        first, second = running(world)
        await end(world, [first], code=1)
        failed = world.one(Job, "work")
        assert conditions(failed) == [("FailureTarget", "BackoffLimitExceeded"), ("Failed", "BackoffLimitExceeded")]
        assert world.events("BackoffLimitExceeded") == ["Job has reached the specified backoff limit"]
        assert failed.status.failed == 2
        assert [p.metadata.name for p in world.all(Pod)] == [first.metadata.name]
        assert world.events("SuccessfulDelete") == [f"Deleted pod: {second.metadata.name}"]


async def test_a_job_is_not_failed_before_its_last_pod_has_gone(world: World) -> None:
    world.graceful = True
    async with controllers(world, JOBS):
        await world.create(job(completions=2, parallelism=2, backoffLimit=0))
        await rest()
        first, second = running(world)
        await end(world, [first], code=1)
        halfway = world.one(Job, "work")
        assert conditions(halfway) == [("FailureTarget", "BackoffLimitExceeded")]
        assert (halfway.status.terminating, halfway.status.active) == (1, 0)
        await world.finish(Pod, second.metadata.name)
        await rest()
        assert conditions(world.one(Job, "work"))[-1] == ("Failed", "BackoffLimitExceeded")


async def test_a_deadline_ends_the_job(world: World) -> None:
    async with controllers(world, JOBS) as term:
        await world.create(job(activeDeadlineSeconds=30))
        await rest()
        await later(world, term, 29)
        assert len(running(world)) == 1
        await later(world, term, 1)
        assert running(world) == []
        assert conditions(world.one(Job, "work"))[-1] == ("Failed", "DeadlineExceeded")
        assert world.events("DeadlineExceeded") == ["Job was active longer than specified deadline"]


async def test_a_suspended_job_has_no_pods_and_a_resumed_one_starts_again(world: World) -> None:
    async with controllers(world, JOBS):
        await world.create(job(suspend=True))
        await rest()
        assert world.all(Pod) == []
        assert conditions(world.one(Job, "work")) == [("Suspended", "JobSuspended")]
        assert not world.one(Job, "work").status.startTime
        for suspended in (False, True, False):
            changed = world.one(Job, "work")
            changed.spec.suspend = suspended
            await world.clock.advance(60)
            await world.update(changed)
            await rest()
            assert len(running(world)) == (0 if suspended else 1)
        assert "Job resumed" in world.events("Resumed")
        resumed = world.one(Job, "work")
        assert conditions(resumed) == []
        assert (resumed.status.failed, resumed.status.startTime) == (0, "2023-11-14T22:16:20Z")


async def test_a_deadline_does_not_run_while_a_job_is_suspended(world: World) -> None:
    async with controllers(world, JOBS) as term:
        await world.create(job(activeDeadlineSeconds=30))
        await rest()
        for suspended in (True, False):
            await world.clock.advance(60 if not suspended else 20)
            changed = world.one(Job, "work")
            changed.spec.suspend = suspended
            await world.update(changed)
            await rest()
        assert world.one(Job, "work").status.startTime == "2023-11-14T22:14:40Z"
        await later(world, term, 29)
        assert len(running(world)) == 1
        await later(world, term, 1)
        assert conditions(world.one(Job, "work"))[-1] == ("Failed", "DeadlineExceeded")


async def test_indexes_are_worked_on_once_each(world: World) -> None:
    async with controllers(world, JOBS) as term:
        await world.create(job(completions=5, parallelism=3, indexed=True))
        await rest()
        pods = running(world)
        assert [p.metadata.annotations[INDEX] for p in pods] == ["0", "1", "2"]
        assert [p.metadata.labels[INDEX] for p in pods] == ["0", "1", "2"]
        assert [p.spec.hostname for p in pods] == ["work-0", "work-1", "work-2"]
        assert [p.metadata.generateName for p in pods] == ["work-0-", "work-1-", "work-2-"]
        [variable] = pods[0].spec.containers[0].env
        assert variable.name == "JOB_COMPLETION_INDEX"
        assert variable.valueFrom.fieldRef.fieldPath == f"metadata.labels['{INDEX}']"
        await end(world, [pods[0], pods[2]])
        assert world.one(Job, "work").status.completedIndexes == "0,2"
        assert [p.metadata.annotations[INDEX] for p in running(world)] == ["1", "3", "4"]
        await end(world, [running(world)[0]], code=1)
        await later(world, term, 10)
        assert [p.metadata.annotations[INDEX] for p in running(world)] == ["1", "3", "4"]
        await end(world, running(world))
        done = world.one(Job, "work")
        assert (done.status.completedIndexes, done.status.succeeded, done.status.failed) == ("0-4", 5, 1)
        assert conditions(done)[-1][0] == "Complete"


async def test_each_index_has_failures_of_its_own(world: World) -> None:
    async with controllers(world, JOBS) as term:
        spec = {"backoffLimitPerIndex": 1, "backoffLimit": 2**31 - 1}
        await world.create(job(completions=2, parallelism=2, indexed=True, **spec))
        await rest()
        bad, good = running(world)
        await end(world, [bad], code=1)
        assert world.one(Pod, bad.metadata.name).metadata.finalizers == [TRACKING]
        await later(world, term, 10)
        again = running(world)[0]
        assert again.metadata.annotations[FAILURES] == "1"
        assert world.one(Pod, bad.metadata.name).metadata.finalizers == []
        await end(world, [again], code=1)
        assert world.one(Job, "work").status.failedIndexes == "0"
        await end(world, [good])
        done = world.one(Job, "work")
        assert conditions(done)[-1] == ("Failed", "FailedIndexes")
        assert (done.status.succeeded, done.status.failed, done.status.completedIndexes) == (1, 2, "1")


async def test_more_failed_indexes_than_allowed_end_the_job(world: World) -> None:
    async with controllers(world, JOBS):
        spec = {"backoffLimitPerIndex": 0, "maxFailedIndexes": 0, "backoffLimit": 2**31 - 1}
        await world.create(job(completions=3, parallelism=3, indexed=True, **spec))
        await rest()
        await end(world, running(world)[:1], code=1)
        assert conditions(world.one(Job, "work"))[-1] == ("Failed", "MaxFailedIndexesExceeded")
        assert running(world) == []


async def test_an_exit_code_may_end_the_job(world: World) -> None:
    async with controllers(world, JOBS):
        await world.create(job(podFailurePolicy=policy("FailJob", codes=(42,))))
        await rest()
        [only] = running(world)
        await end(world, [only], code=42)
        assert conditions(world.one(Job, "work"))[-1] == ("Failed", "PodFailurePolicy")
        name = only.metadata.name
        assert world.events("PodFailurePolicy") == [
            f"Container main for pod default/{name} failed with exit code 42 matching FailJob rule at index 0"
        ]


async def test_an_ignored_failure_does_not_count(world: World) -> None:
    async with controllers(world, JOBS) as term:
        await world.create(job(backoffLimit=0, podFailurePolicy=policy("Ignore", condition="DisruptionTarget")))
        await rest()
        await end(world, running(world), code=137, conditions=["DisruptionTarget"])
        await later(world, term, 10)
        assert len(running(world)) == 1
        assert world.one(Job, "work").status.failed == 0


async def test_ignored_failures_of_an_index_are_told_apart(world: World) -> None:
    async with controllers(world, JOBS) as term:
        rules = policy("Ignore", condition="DisruptionTarget")
        await world.create(job(indexed=True, backoffLimitPerIndex=0, podFailurePolicy=rules))
        await rest()
        await end(world, running(world), code=137, conditions=["DisruptionTarget"])
        await later(world, term, 10)
        [again] = running(world)
        assert (again.metadata.annotations[FAILURES], again.metadata.annotations[IGNORED]) == ("0", "1")


async def test_a_rule_may_give_up_an_index_at_once(world: World) -> None:
    async with controllers(world, JOBS):
        rules = policy("FailIndex", codes=(7,))
        await world.create(
            job(completions=2, parallelism=2, indexed=True, backoffLimitPerIndex=5, podFailurePolicy=rules)
        )
        await rest()
        await end(world, running(world)[:1], code=7)
        assert world.one(Job, "work").status.failedIndexes == "0"


async def test_a_success_policy_ends_the_job_early(world: World) -> None:
    async with controllers(world, JOBS):
        rules = SuccessPolicy(rules=[SuccessPolicyRule(succeededIndexes="0-1", succeededCount=1)])
        await world.create(job(completions=3, parallelism=3, indexed=True, successPolicy=rules))
        await rest()
        await end(world, running(world)[1:2])
        done = world.one(Job, "work")
        assert conditions(done) == [("SuccessCriteriaMet", "SuccessPolicy"), ("Complete", "SuccessPolicy")]
        assert (done.status.succeeded, done.status.failed) == (1, 0)
        assert running(world) == []


@pytest.mark.parametrize(("rule", "expected"), [("TerminatingOrFailed", 1), ("Failed", 0)])
async def test_whether_a_leaving_pod_is_replaced_at_once(world: World, rule: str, expected: int) -> None:
    world.graceful = True
    async with controllers(world, JOBS) as term:
        await world.create(job(podReplacementPolicy=rule))
        await rest()
        [only] = running(world)
        await world.delete(Pod, only.metadata.name, "default")
        await rest()
        await later(world, term, 10)
        assert len(running(world)) == expected


async def test_a_job_of_another_manager_is_left_alone(world: World) -> None:
    async with controllers(world, JOBS):
        await world.create(job(managedBy="example.com/own"))
        await rest()
        assert world.all(Pod) == []
        assert world.one(Job, "work").status.startTime == ""


async def test_pods_that_were_noted_before_a_crash_are_counted_once(world: World) -> None:
    made = job(completions=3, parallelism=1)
    made.status.uncountedTerminatedPods = UncountedTerminatedPods(succeeded=["gone"], failed=["gone-too"])
    made.status.succeeded = 1
    await world.create(made)
    async with controllers(world, JOBS) as term:
        await later(world, term, 0)
        status = world.one(Job, "work").status
        assert (status.succeeded, status.failed) == (2, 1)
        assert (status.uncountedTerminatedPods.succeeded, status.uncountedTerminatedPods.failed) == ([], [])


@pytest.mark.parametrize("verb", ["update", "patch"])
async def test_every_pod_counts_once_whatever_write_fails(world: World, verb: str) -> None:
    async with controllers(world, JOBS) as term:
        await world.create(job(completions=4, parallelism=4))
        await rest()
        pods = running(world)
        world.refuse(verb, "Job" if verb == "update" else "Pod", errors.InternalError("broken"))
        await end(world, pods[:3])
        await end(world, pods[3:], code=1)
        world.refusals.clear()
        await later(world, term, 0)
    async with controllers(world, JOBS):
        await rest()
        status = world.one(Job, "work").status
        assert (status.succeeded, status.failed) == (3, 1)
        assert [p for p in world.all(Pod) if p.metadata.finalizers and p.status.phase] == []


async def test_late_informers_never_cause_a_pod_too_many(world: World) -> None:
    async with controllers(world, JOBS) as term:
        await world.create(job(completions=6, parallelism=4))
        await rest(1)
        world.deaf = True
        await later(world, term, 0)
        await later(world, term, 0)
        await world.hear_again()
        await rest()
        assert len(world.all(Pod)) == 4


async def test_pods_of_a_deleted_job_are_let_go(world: World) -> None:
    async with controllers(world, JOBS):
        await world.create(job())
        await rest()
        await world.delete(Job, "work", "default")
        await rest()
        [left] = world.all(Pod)
        assert left.metadata.finalizers == []


async def test_an_adopted_pod_is_tracked(world: World) -> None:
    async with controllers(world, JOBS):
        owner = job()
        stray = Pod(metadata=meta.clone(owner.spec.template.metadata), spec=owner.spec.template.spec)
        stray.metadata.name, stray.metadata.namespace = "stray", "default"
        await world.create(stray)
        owner = await world.create(owner)
        await rest()
        [only] = world.all(Pod)
        assert only.metadata.finalizers == [TRACKING]
        assert meta.is_controlled_by(only, owner)


async def test_a_refused_creation_is_told_and_tried_again(world: World) -> None:
    async with controllers(world, JOBS):
        world.refuse("create", "Pod", errors.Forbidden("no quota"))
        await world.create(job())
        await rest(2)
        assert "Error creating: no quota" in world.events("FailedCreate")
        world.refusals.clear()
        await rest()
        assert len(running(world)) == 1


async def test_a_finished_job_is_cleaned_up_after_its_time(world: World) -> None:
    async with controllers(world, JOBS, "ttl-after-finished-controller") as term:
        await world.create(job(ttlSecondsAfterFinished=60))
        await rest()
        await end(world, running(world))
        await later(world, term, 59)
        assert not world.one(Job, "work").metadata.deletionTimestamp
        await later(world, term, 1)
        assert ("delete Foreground", "Job", "default/work") in world.writes
