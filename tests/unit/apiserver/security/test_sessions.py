"""Streams into pods: so many at once, and no more of one user."""

from contextlib import ExitStack

import pytest

from api.errors import TooManyRequests
from apiserver.rest.streaming import spdy
from machinery.sessions import Sessions


def test_a_user_has_so_many_at_once() -> None:
    sessions = Sessions(most=10, most_each=2)
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(sessions.one_of("a"))
        with pytest.raises(TooManyRequests), sessions.one_of("a"):
            pass
        with sessions.one_of("b"):
            pass
    with sessions.one_of("a"):
        pass


def test_all_users_have_so_many_together() -> None:
    sessions = Sessions(most=2, most_each=2)
    with sessions.one_of("a"), sessions.one_of("b"), pytest.raises(TooManyRequests), sessions.one_of("c"):
        pass


def test_a_frame_that_says_it_is_large_is_not_waited_for() -> None:
    with pytest.raises(spdy.ProtocolError, match="too large"):
        spdy.Framing().feed(b"\0\0\0\1\0\xff\xff\xff")
