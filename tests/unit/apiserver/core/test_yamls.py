import json

import pytest

from api.errors import BadRequest
from apiserver import yamls


async def converted(text):
    return json.loads(await yamls.as_json(text.encode(), "Pod"))


async def test_yaml_becomes_json():
    assert await converted("a: 1\nb: [x, 'y']\nc: {d: null}\n") == {"a": 1, "b": ["x", "y"], "c": {"d": None}}


async def test_times_stay_strings_and_keys_become_strings():
    assert await converted("t: 2023-11-14T22:08:20Z\n2: a\ntrue: b\n") == {
        "t": "2023-11-14T22:08:20Z",
        "2": "a",
        "true": "b",
    }


async def test_aliases_are_followed():
    assert await converted("a: &x {k: v}\nb: *x\nc:\n  <<: *x\n") == {"a": {"k": "v"}, "b": {"k": "v"}, "c": {"k": "v"}}


async def test_aliases_cannot_blow_a_text_up():
    bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
    )
    with pytest.raises(BadRequest, match="excessive aliasing"):
        await yamls.as_json(bomb.encode(), "Pod")


@pytest.mark.parametrize("text", ["a: [", "a: b: c", "\t- a", "? [a]\n: b", "a: !!python/object:os.system x"])
async def test_bad_yaml_is_refused_in_upstreams_words(text):
    with pytest.raises(BadRequest) as e:
        await yamls.as_json(text.encode(), "Pod")
    assert e.value.message.startswith(
        "the object provided is unrecognized (must be of type Pod): error converting YAML to JSON: "
    )


async def test_a_document_of_very_many_values_is_refused():
    with pytest.raises(BadRequest, match="more than 100000 values"):
        await yamls.as_json(b"[" + b"a," * 100_000 + b"a]", "Pod")
    assert await yamls.as_json(b"[" + b"a," * 90_000 + b"a]", "Pod")


async def test_keys_that_a_mapping_has_twice_are_told_with_their_lines():
    text = b'a: 1\nb:\n- c: 1\n  c: 2\n- &x {d: 1}\n- <<: *x\n  d: 2\n"a": 3\n'
    repeated: list[str] = []
    await yamls.as_json(text, "Pod", repeated)
    assert repeated == ['line 4: key "c" already set in map', 'line 8: key "a" already set in map']
    assert await yamls.as_json(b"", "Pod", repeated) == b"null"
