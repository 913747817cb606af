"""Between the engine's JSON documents and the kubelet's own types.
https://docs.docker.com/reference/api/engine/version/v1.41/
"""

import base64
from datetime import datetime
from typing import Any

import msgspec

from kubelet.runtime.interfaces import (
    CLUSTER,
    NODE,
    Amounts,
    EngineError,
    Image,
    Login,
    Mount,
    Process,
    Record,
    RegistryUnavailable,
    Spec,
    State,
)  # fmt: skip

LOG_SIZE, LOG_FILES = "10m", "5"
LOGS = {"Type": "json-file", "Config": {"max-size": LOG_SIZE, "max-file": LOG_FILES}}
CPU_PERIOD = 100_000
# The engine's own default (from API 1.44 on) is to do it where it can.
RECURSIONS = {"Disabled": "ReadOnlyNonRecursive", "Enabled": "ReadOnlyForceRecursive"}
UNAVAILABLE = (502, 503, 504)


def container(spec: Spec) -> dict[str, Any]:
    """The body of a create request."""
    document: dict[str, Any] = {
        "Image": spec.image,
        "Labels": dict(spec.labels),
        "Env": list(spec.env),
        "WorkingDir": spec.working_dir,
        "User": spec.user,
        "Tty": spec.tty,
        "OpenStdin": spec.stdin,
        "StdinOnce": spec.stdin_once,
        "HostConfig": _host(spec),
        # An image's own health check is nothing that Kubernetes knows: it would only cost an exec every 30 seconds.
        "Healthcheck": {"Test": ["NONE"]},
    }
    if spec.entrypoint is not None:
        document["Entrypoint"] = list(spec.entrypoint)
    if spec.arguments is not None:
        document["Cmd"] = list(spec.arguments)
    if spec.hostname:
        document["Hostname"] = spec.hostname
    if spec.stop_signal:
        document["StopSignal"] = spec.stop_signal
    return document


def _host(spec: Spec) -> dict[str, Any]:
    host: dict[str, Any] = {
        "Runtime": spec.runtime,
        "NetworkMode": spec.network,
        "IpcMode": spec.ipc,
        "PidMode": spec.pid,
        "Mounts": [_mount(m, _owner(spec)) for m in spec.mounts if not (m.create or m.device)],
        # This older form makes a missing directory, which the other one refuses.
        "Binds": [_bind(m) for m in spec.mounts if m.create],
        "Devices": [_device(m) for m in spec.mounts if m.device],
        "CgroupParent": spec.cgroup_parent,
        "CpuShares": spec.cpu_shares,
        "Memory": spec.memory,
        "MemorySwap": spec.memory,  # the same number: no swap
        "OomScoreAdj": spec.oom_score,
        "CapAdd": list(spec.capabilities_add),
        "CapDrop": list(spec.capabilities_drop),
        "GroupAdd": list(spec.groups),
        "Privileged": spec.privileged,
        "ReadonlyRootfs": spec.read_only_root,
        "SecurityOpt": [s for s in spec.security if s != "systempaths=unconfined"],
        "Sysctls": dict(spec.sysctls),
        "LogConfig": LOGS,
        "RestartPolicy": {"Name": "no"},
    }
    if "systempaths=unconfined" in spec.security:
        host["MaskedPaths"] = host["ReadonlyPaths"] = []
    if spec.cpu_quota:
        host["CpuPeriod"], host["CpuQuota"] = CPU_PERIOD, spec.cpu_quota
    if spec.all_devices:
        host["DeviceCgroupRules"] = ["a *:* rwm"]
        host["Mounts"].append({"Type": "bind", "Source": "/dev", "Target": "/dev"})
    return host


def _bind(mount: Mount) -> str:
    options = [o for o in ("ro" if mount.read_only else "", mount.propagation) if o]
    return ":".join([mount.source, mount.target, *([",".join(options)] if options else [])])


def _device(mount: Mount) -> dict[str, str]:
    may = mount.permissions or ("r" if mount.read_only else "rwm")
    return {"PathOnHost": mount.source, "PathInContainer": mount.target, "CgroupPermissions": may}


def _owner(spec: Spec) -> dict[str, str]:
    """By what a volume in memory is found again when nothing else of its pod is left."""
    return {name: spec.labels[name] for name in (CLUSTER, NODE) if name in spec.labels}


def _mount(mount: Mount, owner: dict[str, str]) -> dict[str, Any]:
    base = {"Source": mount.source, "Target": mount.target, "ReadOnly": mount.read_only}
    if mount.tmpfs:
        driver = {"Name": "local", "Options": {"type": "tmpfs", "device": "tmpfs", "o": _tmpfs(mount)}}
        return base | {"Type": "volume", "VolumeOptions": {"NoCopy": True, "Labels": owner, "DriverConfig": driver}}
    options: dict[str, Any] = {"Propagation": mount.propagation} if mount.propagation else {}
    if mount.read_only and mount.recursive in RECURSIONS:
        options[RECURSIONS[mount.recursive]] = True
    return base | {"Type": "bind"} | ({"BindOptions": options} if options else {})


def _tmpfs(mount: Mount) -> str:
    """Its options; without a mode it would be the engine's 1777."""
    options = ["mode=0777"] if mount.group is None else ["mode=2777", f"gid={mount.group}"]
    return ",".join([*options, *([f"size={mount.size}"] if mount.size else [])])


def record(document: dict[str, Any]) -> Record:
    """From the answer to an inspect request."""
    state, config = document["State"], document["Config"]
    started = seconds(state.get("StartedAt", ""))
    # The engine dates the start of a very short life after its end.
    finished = max(started, seconds(state.get("FinishedAt", ""))) if not state.get("Running") and started else 0.0
    return Record(
        id=document["Id"],
        state=_state(state),
        labels=config.get("Labels") or {},
        image=config.get("Image", ""),
        image_id=document.get("Image", ""),
        pid=state.get("Pid") or 0,
        created_at=seconds(document.get("Created", "")),
        started_at=started,
        finished_at=finished,
        exit_code=state.get("ExitCode") or 0,
        oom_killed=bool(state.get("OOMKilled")),
        error=state.get("Error") or "",
        stop_signal=config.get("StopSignal") or "SIGTERM",
        tty=bool(config.get("Tty")),
        log_path=document.get("LogPath") or "",
        amounts=_amounts(document.get("HostConfig") or {}),
    )


def _amounts(host: dict[str, Any]) -> Amounts:
    return Amounts(host.get("CpuShares") or 0, max(0, host.get("CpuQuota") or 0), host.get("Memory") or 0)


def update(amounts: Amounts) -> dict[str, Any]:
    """The body of an update request: what is 0 there stays as it is, and -1 takes a limit away."""
    return {
        "CpuShares": amounts.shares, "CpuPeriod": CPU_PERIOD, "CpuQuota": amounts.quota or -1,
        "Memory": amounts.memory, "MemorySwap": amounts.memory,
    }  # fmt: skip


def _state(state: dict[str, Any]) -> State:
    if state.get("Running"):
        return State.RUNNING
    return State.CREATED if state.get("Status") == "created" else State.EXITED


def seconds(text: str) -> float:
    """The engine's time (nanoseconds, the year 1 for never) → seconds since the epoch."""
    if not text or text.startswith("0001-"):
        return 0.0
    return datetime.fromisoformat(text).timestamp()


def image(document: dict[str, Any]) -> Image:
    names = (*(document.get("RepoDigests") or ()), *(document.get("RepoTags") or ()))
    user = (document.get("Config") or {}).get("User", "")
    return Image(document["Id"], names, int(document.get("Size", 0)), user)


def listed_image(document: dict[str, Any]) -> Image:
    names = (*(document.get("RepoDigests") or ()), *(document.get("RepoTags") or ()))
    return Image(document["Id"], tuple(n for n in names if "<none>" not in n), int(document.get("Size", 0)))


def pull(name: str) -> dict[str, str]:
    """The query of a pull.  Without a tag the engine would fetch all that there are."""
    repository, at, digest = name.partition("@")
    head, colon, tag = repository.rpartition(":")
    if not colon or "/" in tag:
        head, tag = repository, "latest"
    # What stands before a digest says nothing: `name:tag@digest` is the digest's.
    return {"fromImage": head, "tag": digest if at else tag}


def login(wanted: Login | None) -> str:
    """The field of a pull's head that says who asks."""
    names = ("username", "password", "identitytoken")
    shown = dict(zip(names, (wanted.user, wanted.password, wanted.token), strict=True)) if wanted else {}
    return base64.urlsafe_b64encode(msgspec.json.encode(shown)).decode()


def check_pull(line: dict[str, Any]) -> None:
    """One line of what a pull says.  Raises EngineError where it is that it failed."""
    if error := line.get("error"):
        raise refused(str(error), (line.get("errorDetail") or {}).get("code"))


def refused(message: str, code: int | None = None) -> EngineError:
    """`code` is a registry's status, where the engine tells it apart from its words."""
    gone = code in UNAVAILABLE or any(f"unexpected HTTP status: {c} " in message for c in UNAVAILABLE)
    return RegistryUnavailable(message) if gone else EngineError(message)


def execution(process: Process) -> dict[str, Any]:
    """The body of a request for a process inside a container."""
    return {
        "Cmd": list(process.command), "AttachStdin": process.stdin, "AttachStdout": True, "AttachStderr": True,
        "Tty": process.tty,
    }  # fmt: skip
