"""Batch work on real containers: jobs, cron jobs, and evictions that disruption budgets hold back."""

INDEXED = """
apiVersion: batch/v1
kind: Job
metadata: {name: sums}
spec:
  completions: 3
  parallelism: 3
  completionMode: Indexed
  template:
    spec:
      restartPolicy: Never
      containers:
      - name: main
        image: busybox:1.35
        command: [sh, -c, 'echo "index $JOB_COMPLETION_INDEX of $(hostname)"']
"""
FAILING = """
apiVersion: batch/v1
kind: Job
metadata: {name: failing}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers: [{name: main, image: "busybox:1.35", command: [sh, -c, "exit 3"]}]
"""
GUARDED = """
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: test1}
spec: {minAvailable: 3, selector: {matchLabels: {app: test1}}}
"""


def test_an_indexed_job_completes_and_its_pods_keep_their_logs(kubectl):
    kubectl("apply", "-f", "-", stdin=INDEXED)
    kubectl("wait", "--for=condition=complete", "job/sums", "--timeout=60s")
    status = kubectl.json("get", "job", "sums")["status"]
    assert (status["succeeded"], status["completedIndexes"]) == (3, "0-2")
    for index in range(3):
        selector = f"batch.kubernetes.io/job-completion-index={index}"
        assert kubectl("logs", "--selector", selector) == f"index {index} of sums-{index}\n"
    row = kubectl("get", "job", "sums", "--no-headers").split()
    assert row[:3] == ["sums", "Complete", "3/3"]


def test_a_job_that_fails_too_often_says_why(kubectl):
    kubectl("apply", "-f", "-", stdin=FAILING)
    kubectl("wait", "--for=condition=failed", "job/failing", "--timeout=60s")
    [target, failed] = kubectl.json("get", "job", "failing")["status"]["conditions"]
    assert (target["type"], failed["type"], failed["reason"]) == ("FailureTarget", "Failed", "BackoffLimitExceeded")


def test_a_cron_jobs_job_can_be_started_by_hand(kubectl):
    kubectl("create", "cronjob", "nightly", "--image=busybox:1.35", "--schedule=0 3 * * *", "--", "echo", "done")
    kubectl("create", "job", "now", "--from=cronjob/nightly")
    kubectl("wait", "--for=condition=complete", "job/now", "--timeout=60s")
    assert kubectl("logs", "job/now") == "done\n"


def test_an_eviction_waits_for_the_budget(kubectl, manifests, running):
    kubectl("apply", "-f", f"{manifests}/rc.yaml", "-f", "-", stdin=GUARDED)
    running(3)
    kubectl("wait", "pdb/test1", "--for=jsonpath={.status.currentHealthy}=3", "--timeout=30s")
    node = kubectl.json("get", "pods", "--selector", "app=test1")["items"][0]["spec"]["nodeName"]
    try:
        drained = kubectl.run("drain", node, "--pod-selector=app=test1", "--timeout=3s")
        assert "Cannot evict pod as it would violate the pod's disruption budget." in drained.stdout + drained.stderr
        kubectl("delete", "pdb", "test1")
        kubectl("drain", node, "--pod-selector=app=test1", "--timeout=60s")
    finally:
        kubectl("uncordon", node)
    running(3)
