"""What the scheduler counts, under upstream's names.

https://kubernetes.io/docs/reference/instrumentation/metrics/
"""

from collections.abc import Callable, Iterable, Mapping

from machinery.clocks import Clock
from machinery.metrics import Counter, Exposition, Gauge, Histogram
from scheduler.decisions import Decision
from scheduler.profiles import Profile
from scheduler.queues import SchedulingQueue
from scheduler.sampling import Sampling

ATTEMPT_SECONDS = tuple(0.001 * 2**n for n in range(15))
POINT_SECONDS = tuple(0.0001 * 2**n for n in range(12))
WAIT_SECONDS = tuple(0.01 * 2**n for n in range(20))
MANY = 15
VICTIMS = tuple(2.0**n for n in range(7))
ATTEMPTS = 1.0, 2.0, 4.0, 8.0, 16.0


class Metrics:
    """For one event loop. Decisions are made one after another: `begin`, then `lap` for each step, then `decided`."""

    def __init__(
        self, queue: SchedulingQueue, clock: Clock, cached: Callable[[], Mapping[str, int]],
        binding: Callable[[], int], profiles: Iterable[Profile],
    ) -> None:  # fmt: skip
        """`cached`: how many nodes, pods and assumed pods are known; `binding`: how many bindings are under way."""
        self.sampling = Sampling(clock)
        self._profiles = {profile.name: profile for profile in profiles}
        self._clock = clock
        self._began = self._last = 0.0
        self._profile = ""
        self.attempts = Counter(
            "scheduler_schedule_attempts",
            "Number of attempts to schedule pods, by the result. 'unschedulable' means a pod could not be scheduled, "
            "while 'error' means an internal scheduler problem.",
            ("result", "profile"),
        )
        self.durations = Histogram(
            "scheduler_scheduling_attempt_duration_seconds",
            "Scheduling attempt latency in seconds (scheduling algorithm + binding)",
            ("result", "profile"), ATTEMPT_SECONDS,
        )  # fmt: skip
        self.algorithm = Histogram(
            "scheduler_scheduling_algorithm_duration_seconds", "Scheduling algorithm latency in seconds", (),
            ATTEMPT_SECONDS,
        )  # fmt: skip
        self.waits = Histogram(
            "scheduler_pod_scheduling_sli_duration_seconds",
            "E2e latency for a pod being scheduled, from the time the pod enters the scheduling queue and might "
            "involve multiple scheduling attempts.",
            ("attempts",), WAIT_SECONDS,
        )  # fmt: skip
        self.points = Histogram(
            "scheduler_framework_extension_point_duration_seconds",
            "Latency for running all plugins of a specific extension point.",
            ("extension_point", "status", "profile"), POINT_SECONDS,
        )  # fmt: skip
        self.tries = Histogram(
            "scheduler_pod_scheduling_attempts", "Number of attempts to successfully schedule a pod.", (), ATTEMPTS
        )
        self.preemptions = Counter(
            "scheduler_preemption_attempts", "Total preemption attempts in the cluster till now"
        )  # fmt: skip
        self.victims = Histogram("scheduler_preemption_victims", "Number of selected preemption victims", (), VICTIMS)
        pending = Gauge(
            "scheduler_pending_pods",
            "Number of pending pods, by the queue type. 'active' means number of pods in activeQ; 'backoff' means "
            "number of pods in backoffQ; 'unschedulable' means number of pods in unschedulablePods that the scheduler "
            "attempted to schedule and failed; 'gated' is the number of unschedulable pods that the scheduler never "
            "attempted to schedule because they are gated.",
            ("queue",), lambda: {(part,): count for part, count in queue.lengths().items()},
        )  # fmt: skip
        incoming = Gauge(
            "scheduler_queue_incoming_pods",
            "Number of pods added to scheduling queues by event and queue type.",
            ("queue", "event"), lambda: dict(queue.incoming.items()), counts=True,
        )  # fmt: skip
        unschedulable = Gauge(
            "scheduler_unschedulable_pods",
            "The number of unschedulable pods broken down by plugin name. A pod will increment the gauge for all "
            "plugins that caused it to not schedule and so this metric have meaning only when broken down by plugin.",
            ("plugin", "profile"), lambda: dict(queue.rejected().items()),
        )  # fmt: skip
        size = Gauge(
            "scheduler_cache_size", "Number of nodes, pods, and assumed (bound) pods in the scheduler cache.",
            ("type",), lambda: {(kind,): count for kind, count in cached().items()},
        )  # fmt: skip
        evaluations = Gauge(
            "scheduler_plugin_evaluation",
            "Number of attempts to schedule pods by each plugin and the extension point (available only in PreFilter, "
            "Filter, PreScore, and Score).",
            ("plugin", "extension_point", "profile"), self._evaluations, counts=True,
        )  # fmt: skip
        goroutines = Gauge(
            "scheduler_goroutines", "Number of running goroutines split by the work they do such as binding.",
            ("operation",), lambda: {("binding",): binding()},
        )  # fmt: skip
        self.exposition = Exposition((
            self.attempts, self.durations, self.algorithm, self.waits, self.points, self.tries, self.preemptions,
            self.victims, pending, incoming, unschedulable, size, evaluations, goroutines, self.sampling.durations,
        ))  # fmt: skip

    def _evaluations(self) -> dict[tuple[str, ...], float]:
        """Each plug-in of a point looks at all nodes at once, whenever its point is run."""
        found: dict[tuple[str, ...], float] = {}
        for point, _, name in self.points.labels():
            profile = self._profiles.get(name)
            if profile is not None and point in ("Filter", "Score"):
                named = profile.filters if point == "Filter" else profile.scores
                count = self.points.count((point, "Success", name))
                found |= {(plugin, point, name): count for plugin, *_ in named}
        return found

    def begin(self, profile: str) -> None:
        self._profile = profile
        self._began = self._last = self._clock.monotonic()

    def lap(self, point: str) -> None:
        now = self._clock.monotonic()
        self.points.observe(now - self._last, (point, "Success", self._profile))
        self._last = now

    def decided(self, decision: Decision) -> None:
        result = ("scheduled" if decision.node else "unschedulable", self._profile)
        seconds = self._clock.monotonic() - self._began
        self.durations.observe(seconds, result)
        self.algorithm.observe(seconds)
        if decision.node:
            return  # counted when it is bound
        self.attempts.add(result)
        if decision.rejectors:
            self.preemptions.add()
        if decision.preemption.node:
            self.victims.observe(len(decision.preemption.victims))

    def bound(self, profile: str, attempts: int, waited: float) -> None:
        """After so many attempts, and so many seconds since it first came to the queue."""
        self.attempts.add(("scheduled", profile))
        self.tries.observe(attempts)
        self.waits.observe(waited, (str(attempts) if attempts < MANY else f"{MANY}+",))

    def failed(self, profile: str) -> None:
        self.attempts.add(("error", profile))
