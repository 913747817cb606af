"""What extends the API server: webhook configurations, API services."""

from api.types import APIService, LabelSelector, MutatingWebhookConfiguration, ValidatingWebhookConfiguration

HTTPS = 443
TIMEOUT = 10


def webhooks(obj: MutatingWebhookConfiguration | ValidatingWebhookConfiguration) -> None:
    for webhook in obj.webhooks:
        webhook.failurePolicy = webhook.failurePolicy or "Fail"
        webhook.matchPolicy = webhook.matchPolicy or "Equivalent"
        webhook.namespaceSelector = webhook.namespaceSelector or LabelSelector()
        webhook.objectSelector = webhook.objectSelector or LabelSelector()
        if webhook.timeoutSeconds is None:
            webhook.timeoutSeconds = TIMEOUT
        for rule in webhook.rules:
            rule.scope = rule.scope or "*"
        service = webhook.clientConfig.service if webhook.clientConfig is not None else None
        if service is not None and service.port is None:
            service.port = HTTPS


def mutating_webhooks(obj: MutatingWebhookConfiguration) -> None:
    webhooks(obj)
    for webhook in obj.webhooks:
        webhook.reinvocationPolicy = webhook.reinvocationPolicy or "Never"


def api_service(obj: APIService) -> None:
    if obj.spec.service is not None and obj.spec.service.port is None:
        obj.spec.service.port = HTTPS
