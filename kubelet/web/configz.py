"""/configz: how this kubelet is configured, as upstream's KubeletConfiguration (kubelet.config.k8s.io/v1beta1).

https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/ .  Only what is true here is told: a field that
is missing is about something that this kubelet does not have.
"""

from typing import Any

from kubelet.config import Config
from kubelet.nodes import registering
from kubelet.runtime.documents import LOG_FILES, LOG_SIZE
from kubelet.web import askers, rights


def configuration(config: Config) -> dict[str, Any]:
    return {
        "kubeletconfig": {
            "enableServer": True,
            "syncFrequency": "1m0s",
            "address": config.bind,
            "port": config.port,
            "tlsCertFile": str(config.certificate),
            "tlsPrivateKeyFile": str(config.key),
            "rotateCertificates": config.certificates.renews_client,
            "serverTLSBootstrap": config.certificates.renews_server,
            "tlsMinVersion": "VersionTLS12",
            "authentication": {
                "x509": {"clientCAFile": str(config.client_ca)},
                "webhook": {"enabled": True, "cacheTTL": _duration(askers.KEPT_SECONDS)},
                "anonymous": {"enabled": config.anonymous},
            },
            "authorization": {
                "mode": "Webhook",
                "webhook": {
                    "cacheAuthorizedTTL": _duration(rights.ALLOWED_SECONDS),
                    "cacheUnauthorizedTTL": _duration(rights.REFUSED_SECONDS),
                },
            },
            "clusterDomain": config.cluster_domain,
            "clusterDNS": list(config.cluster_dns),
            "nodeStatusUpdateFrequency": _duration(registering.STATUS_SECONDS),
            "nodeStatusReportFrequency": _duration(registering.REPORT_SECONDS),
            "nodeLeaseDurationSeconds": registering.LEASE_SECONDS,
            "maxPods": config.max_pods,
            "resolvConf": str(config.resolver),
            "containerLogMaxSize": LOG_SIZE.upper() + "i",
            "containerLogMaxFiles": int(LOG_FILES),
            "allowedUnsafeSysctls": list(config.allowed_sysctls),
            "enableDebuggingHandlers": True,
            "enableSystemLogHandler": True,
            "failSwapOn": False,
            "containerRuntimeEndpoint": config.endpoint,
        }
    }


def _duration(seconds: float) -> str:
    """As Go writes it."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s" if minutes else f"{rest}s"
