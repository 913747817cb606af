"""What the kubelet's /metrics say of its own certificates, under upstream's names.

https://kubernetes.io/docs/reference/instrumentation/metrics/
"""

import math

from cryptography import x509
from prometheus_client.registry import Collector

from kubelet.certificates.rotating import Rotation
from machinery.clocks import Clock
from machinery.metrics import Gauge, Histogram, Labels

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
AGES = (MINUTE, HOUR, 4 * HOUR, DAY, 7 * DAY, 30 * DAY, 90 * DAY, 180 * DAY, 360 * DAY, 1440 * DAY)
ERRORS = "Counter of certificate renewal errors."
LEFT = "The value is in seconds until certificate expiry (negative if already expired)."


def of_client(rotation: Rotation, clock: Clock) -> list[Collector]:
    return [
        _errors("kubelet_certificate_manager_client_expiration_renew_errors", rotation),
        _left(
            "kubelet_certificate_manager_client_ttl_seconds",
            f"Gauge of the TTL (time-to-live) of the Kubelet's client certificate. {LEFT} If client certificate is "
            "invalid or unused, the value will be +INF.",
            rotation, clock,
        ),
    ]  # fmt: skip


def of_server(rotation: Rotation, clock: Clock) -> list[Collector]:
    ages = Histogram(
        "kubelet_certificate_manager_server_rotation_seconds",
        "Histogram of the number of seconds the previous certificate lived before being rotated.", (), AGES,
    )  # fmt: skip

    def replaced(old: x509.Certificate) -> None:
        ages.observe(clock.now() - old.not_valid_before_utc.timestamp())

    rotation.on_replaced = replaced
    return [
        _errors("kubelet_server_expiration_renew_errors", rotation),
        ages,
        _left(
            "kubelet_certificate_manager_server_ttl_seconds",
            f"Gauge of the shortest TTL (time-to-live) of the Kubelet's serving certificate. {LEFT} If serving "
            "certificate is invalid or unused, the value will be +INF.",
            rotation, clock,
        ),
    ]  # fmt: skip


def _errors(name: str, rotation: Rotation) -> Collector:
    """A counter, but without the ending that the library gives to counters."""
    return Gauge(name, ERRORS, (), lambda: {(): rotation.failures})


def _left(name: str, help_: str, rotation: Rotation, clock: Clock) -> Collector:
    def read() -> dict[Labels, float]:
        held = rotation.certificate
        left = held.not_valid_after_utc.timestamp() - clock.now() if held is not None else -1.0
        # Upstream's help speaks of negative values, but for it, too, one that has expired is not there.
        return {(): math.trunc(left) if left >= 0 else math.inf}

    return Gauge(name, help_, (), read)
