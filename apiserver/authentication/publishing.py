"""The keys of service account tokens, for others who want to verify them.

https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#service-account-issuer-discovery
"""

from collections.abc import Callable

import msgspec

from apiserver.authentication.tokens import Keys

DISCOVERY, KEYS = "/.well-known/openid-configuration", "/openid/v1/jwks"


def pages(keys: Keys, address: str) -> dict[str, Callable[[], tuple[str, bytes]]]:
    """Path → what makes (content type, document). `address` is where this API server is reached, host:port."""

    def discovery() -> tuple[str, bytes]:
        configuration = {
            "issuer": keys.issuer,
            "jwks_uri": f"https://{address}{KEYS}",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": sorted({key["alg"] for key in keys.web_keys()}),
        }
        return "application/json", msgspec.json.encode(configuration)

    def key_set() -> tuple[str, bytes]:
        return "application/jwk-set+json", msgspec.json.encode({"keys": keys.web_keys()})

    return {DISCOVERY: discovery, KEYS: key_set}
