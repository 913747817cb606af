"""Who asks: the subject of a client certificate, or the owner of a bearer token.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/

    authenticators   a connection and its Authorization header → a User
    proxies          whom a proxy in front of this server has authenticated
    tokens           service account tokens as signed documents: issuing and reading them (pure)
    accounts         what they are worth: the account, and what the token is bound to, must still be there
    publishing       the keys for others who want to verify them: OIDC discovery
"""

from apiserver.authentication.accounts import Accounts
from apiserver.authentication.authenticators import (
    AUTHENTICATED,
    UNAUTHENTICATED,
    Authenticator,
    certificate_user,
)
from apiserver.authentication.proxies import Headers, Proxies, ProxySettings
from apiserver.authentication.tokens import Keys

__all__ = [
    "AUTHENTICATED", "UNAUTHENTICATED", "Accounts", "Authenticator", "Headers", "Keys", "Proxies", "ProxySettings",
    "certificate_user",
]  # fmt: skip
