"""Pods, containers and records, with no more said than a test needs."""

from dataclasses import replace
from typing import Any

from api.types import Container, ObjectMeta, Pod, PodSpec
from kubelet.runtime.interfaces import (
    ATTEMPT,
    BACKOFF,
    CONTAINER,
    KIND,
    PAUSE,
    POD_NAME,
    POD_NAMESPACE,
    POD_UID,
    ROUND,
    SANDBOX,
    Record,
    State,
)  # fmt: skip
from kubelet.syncing.views import View

NOW = 1_700_000_000.0
BOX = "pause0"


def container(name: str = "main", **fields: Any) -> Container:
    return Container(name=name, **{"image": "app:1", **fields})


def pod(*containers: Container, policy: str = "Always", metadata: dict[str, Any] | None = None, **spec: Any) -> Pod:
    return Pod(
        metadata=ObjectMeta(**{"name": "web", "namespace": "default", "uid": "u1", **(metadata or {})}),
        spec=PodSpec(containers=list(containers) or [container()], restartPolicy=policy, **spec),
    )


def pause(attempt: int = 0, **fields: Any) -> Record:
    labels = {KIND: PAUSE, POD_UID: "u1", CONTAINER: "POD", ATTEMPT: str(attempt)}
    return replace(
        Record(id=f"pause{attempt}", state=State.RUNNING, labels=labels, pid=10, started_at=NOW - 100), **fields
    )


def running(
    name: str = "main", attempt: int = 0, *, backoff: float = 0, sandbox: str = BOX, turn: int = 0, **fields: Any
) -> Record:
    labels = {
        KIND: "container", POD_UID: "u1", POD_NAMESPACE: "default", POD_NAME: "web", CONTAINER: name,
        ATTEMPT: str(attempt), BACKOFF: f"{backoff:g}", SANDBOX: sandbox, ROUND: str(turn),
    }  # fmt: skip
    return replace(
        Record(
            id=f"{name}{attempt}", state=State.RUNNING, labels=labels, image="app:1", image_id="sha256:1", pid=11,
            created_at=NOW - 60, started_at=NOW - 60,
        ),
        **fields,
    )  # fmt: skip


def exited(name: str = "main", attempt: int = 0, code: int = 1, *, ago: float = 1.0, **fields: Any) -> Record:
    return replace(
        running(name, attempt, **fields), state=State.EXITED, exit_code=code, finished_at=NOW - ago, pid=0
    )  # fmt: skip


def created(name: str = "main", attempt: int = 0, **fields: Any) -> Record:
    return replace(running(name, attempt), state=State.CREATED, started_at=0.0, pid=0, **fields)


def view(of: Pod | None = None, *records: Record, **fields: Any) -> View:
    return View(
        **{"pod": of or pod(), "now": NOW, "records": records, "host_ip": "10.0.0.1", "address": "10.244.1.2", **fields}
    )
