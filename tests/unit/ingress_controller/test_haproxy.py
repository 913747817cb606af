"""A site in HAProxy's words; what HAProxy makes of them is tried with the real one."""

from ingress_controller.haproxy import moves, quoted, seat
from ingress_controller.sites import Server, Site

A, B, C = Server("10.0.0.1", 80), Server("10.0.0.2", 80), Server("10.0.0.3", 80)


def test_who_has_a_place_keeps_it_and_newcomers_take_the_free_ones() -> None:
    first = seat(Site(backends={"b": (A, B)}), {})
    assert first == {"b": (A, B, *[None] * 6)}
    second = seat(Site(backends={"b": (B, C)}), first)
    assert second == {"b": (C, B, *[None] * 6)}
    assert [*moves(first, second)] == ["set server b/s0 addr 10.0.0.3 port 80", "set server b/s0 state ready"]
    assert [*moves(second, seat(Site(backends={"b": (B,)}), second))] == ["set server b/s0 state maint"]


def test_a_backend_grows_by_doubling_its_places() -> None:
    many = tuple(Server(f"10.0.0.{n}", 80) for n in range(9))
    assert len(seat(Site(backends={"b": many}), {})["b"]) == 16


def test_many_servers_are_not_each_compared_with_all_others() -> None:
    class Counted(Server):
        compared = 0
        __hash__ = Server.__hash__

        def __eq__(self, other: object) -> bool:
            Counted.compared += 1
            return super().__eq__(other)

    def many() -> Site:
        return Site(backends={"b": tuple(Counted(f"10.0.{n // 256}.{n % 256}", 80) for n in range(1000))})

    first = seat(many(), {})
    Counted.compared = 0
    second = seat(many(), first)
    assert Counted.compared < 10_000
    assert second == first


def test_a_word_stays_one_word() -> None:
    assert quoted('/a b#c$d"e\\') == "'/a b#c$d\"e\\'"
    assert quoted("it's") == "'it'\\''s'"
