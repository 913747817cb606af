"""What goes into the head of an answer."""

from aiohttp import web

from apiserver.rest import responses


def warnings_of(*said: str) -> list[str]:
    return responses.warned(web.Response(), said).headers.getall("Warning", [])


def test_each_warning_is_said_once_and_on_one_line() -> None:
    assert warnings_of("a", 'b\n"c"', "a") == ['299 - "a"', r'299 - "b \"c\""']


def test_many_warnings_are_shortened_and_then_left_out() -> None:
    few = ["x" * 2000, "y" * 2096]
    assert warnings_of(*few) == [f'299 - "{text}"' for text in few]
    found = warnings_of(*few, "z")
    assert found == [f'299 - "{"x" * 256}"', f'299 - "{"y" * 256}"', '299 - "z"']
    many = warnings_of(*(f"{i:03}" + "n" * 97 for i in range(1000)))
    assert len(many) == 41
