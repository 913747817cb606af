"""How many streams into pods there are at once: each is a connection here, one to the kubelet, and what waits between.

They have no seats (apiserver.flows), since they would keep them from those who come and go; upstream counts nothing.
"""

from machinery.sessions import Sessions

MOST, MOST_EACH = 2000, 500
"""At one door, and of one user; each connection of a port-forward is one beside the port-forward itself."""


def into_pods() -> Sessions:
    return Sessions(MOST, MOST_EACH, of="streams into pods")
