"""Settings: strict YAML, strict types, one-line errors; and what arbitrary text makes of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import Field, model_validator

from uniaudio_cli.core.errors import UsageError, first_line
from uniaudio_cli.core.schema import (
    FROM_LIST,
    FilePath,
    Schema,
    brief,
    build,
    describe,
    json_schema,
    load_yaml,
    parse_settings,
    require,
)
from uniaudio_cli.core.strict_yaml import NotYamlError, parse_yaml


class Inner(Schema):
    size: int = Field(default=1, ge=1)
    share: float = Field(default=0.5, gt=0, lt=1)

    @model_validator(mode="after")
    def _check(self) -> Inner:
        require(self.size != 13, "size", "another number", self.size)
        return self


class Outer(Schema):
    name: str
    kind: Literal["red", "blue"] = "red"
    flag: bool = False
    numbers: Annotated[tuple[int, ...], FROM_LIST] = ()
    weights: Mapping[str, float] = Field(default_factory=dict)
    path: FilePath | None = None
    inner: Inner = Field(default_factory=Inner)
    other: Inner | None = None


def write(folder: Path, text: str) -> Path:
    path = folder / "a.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", "010"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("['no', \"yes\", n, y, none]", ["no", "yes", "n", "y", "none"]),
        ("[true, False, ~, null]", [True, False, None, None]),
        ("[0, -12, +3, 1e-4, .5, 2., 1.5E3]", [0, -12, 3, 1e-4, 0.5, 2.0, 1500.0]),
        ("[.inf, -.inf]", [math.inf, -math.inf]),
        ("'1'", "1"),
        ("", None),
        ("{a: {b: [c]}}", {"a": {"b": ["c"]}}),
        ("<<: {a: 1}", {"<<": {"a": 1}}),
        ("!!str 1", "1"),
        ("!!int 1", 1),
    ],
)
def test_yaml_values(text, value):
    found = parse_yaml(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "line 3: not YAML (the key 'a' is given twice)"),
        ("{a: 1, 'a': 2}", "the key 'a' is given twice"),
        ("{a: {b: 1, b: 2}}", "the key 'b' is given twice"),
        ("{[a]: 1}", "line 1: not YAML (found unhashable key)"),
        ("!!float x", "'x' is no float"),
        ("!!timestamp 2024-01-01", "not YAML"),
        ("!!set {a}", "not YAML"),
        ("!mine x", "not YAML"),
        ("a\x00", "not YAML"),
        ("--- a\n--- b", "not YAML"),
        ("[" * 100_000, "nested too deeply"),
        ("9" * 5000, "not YAML"),
        ("a: 1\nb: no", "line 2: not YAML (no is text or a truth value; put it in quotes, or write true or false)"),
        ("[1, Off]", "Off is text or a truth value"),
        ("YES: 1", "YES is text or a truth value"),
    ],
)
def test_text_that_is_not_yaml(text, message):
    with pytest.raises(NotYamlError) as caught:
        parse_yaml(text)
    assert message in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "missing key 'name'"),
        ({"names": "x"}, "unknown key 'names' (did you mean 'name'?)"),
        ({"name": "x", 3: 4}, "unknown key '3'"),
        ({"name": 3}, "'name' must be text, not 3"),
        ({"name": None}, "'name' must be text, not null"),
        ({"name": "x", "kind": "green"}, "'kind' must be one of red, blue, not 'green'"),
        ({"name": "x", "flag": 1}, "'flag' must be true or false, not 1"),
        ({"name": "x", "numbers": [1, True]}, "'numbers' must be a list of whole numbers, not [1, True]"),
        ({"name": "x", "numbers": 1}, "'numbers' must be a list of whole numbers, not 1"),
        ({"name": "x", "weights": {"a": "1"}}, "'weights' must be a mapping of names to numbers, not {'a': '1'}"),
        ({"name": "x", "weights": {"a": math.inf}}, "'weights' must be a mapping of names to numbers"),
        ({"name": "x", "path": 1}, "'path' must be a path or null, not 1"),
        ({"name": "x", "inner": {"size": 0}}, "'inner.size' must be a whole number from 1 up, not 0"),
        ({"name": "x", "inner": {"size": "1"}}, "'inner.size' must be a whole number from 1 up, not '1'"),
        ({"name": "x", "inner": {"share": 1.0}}, "'inner.share' must be a number above 0 to below 1, not 1.0"),
        ({"name": "x", "inner": {"share": math.nan}}, "'inner.share' must be a number above 0 to below 1, not nan"),
        ({"name": "x", "inner": {"sice": 1}}, "unknown key 'inner.sice' (did you mean 'inner.size'?)"),
        ({"name": "x", "inner": None}, "'inner' must be a mapping of keys to values, not null"),
        ({"name": "x", "inner": {"size": 13}}, "'inner.size' must be another number, not 13"),
        ({"name": "x", "other": {"size": 13}}, "'other.size' must be another number, not 13"),
        ({"name": "x", "other": []}, "'other' must be a mapping of keys to values or null, not []"),
        ([], "the file must be a mapping of keys to values"),
    ],
)
def test_values_that_do_not_fit(values, message):
    with pytest.raises(UsageError) as caught:
        build(Outer, values)
    assert str(caught.value).startswith(message)
    assert str(caught.value).isprintable()
    if isinstance(values, dict) and all(isinstance(key, str) for key in values):
        with pytest.raises(UsageError) as again:
            Outer(**values)
        assert str(again.value) == str(caught.value)


def test_values_that_fit(tmp_path):
    text = "name: x\nnumbers: [1, 2]\nweights: {a: 1}\npath: p/q\ninner: {size: 3}\nother: {share: 0.25}\n"
    found = load_yaml(write(tmp_path, text), Outer)
    assert found.numbers == (1, 2)
    assert (found.weights, type(found.weights["a"])) == ({"a": 1.0}, float)
    assert found.path == Path("p/q")
    assert (found.inner, found.other) == (Inner(size=3), Inner(share=0.25))


def test_overrides_replace_values_and_leave_the_rest(tmp_path):
    path = write(tmp_path, "name: x\ninner: {size: 3, share: 0.25}\n")
    found = load_yaml(path, Outer, {"inner.size": 4, "other.size": 2, "flag": True})
    assert found == Outer(name="x", inner=Inner(size=4, share=0.25), other=Inner(size=2), flag=True)
    assert found.replace(**{"inner.share": 0.75}).inner == Inner(size=4, share=0.75)
    assert found.inner == Inner(size=4, share=0.25)
    with pytest.raises(UsageError, match=r"a\.yaml: unknown key 'inner\.x'"):
        load_yaml(path, Outer, {"inner.x": 4})
    with pytest.raises(UsageError, match=r"a\.yaml: 'name\.x' cannot be set"):
        load_yaml(path, Outer, {"name.x": 4})


@pytest.mark.parametrize(
    ("name", "message"), [("none.yaml", "cannot be read"), ("x\0.yaml", r"x\\x00\.yaml: "), ("x" * 300, "cannot")]
)
def test_files_that_cannot_be_read(tmp_path, name, message):
    with pytest.raises(UsageError, match=message) as caught:
        load_yaml(tmp_path / name, Outer)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("setting", ["a", "=1", "a={", "a={b: 1, b: 2}", " =", "a\n"])
def test_settings_that_are_none(setting):
    with pytest.raises(UsageError, match="--set ") as caught:
        parse_settings([setting])
    assert str(caught.value).isprintable()


def test_settings_are_yaml():
    found = parse_settings(["clip.seconds=2", "levels=[0, 1]", "a=b=c", "none=", " x = 'no'", "x=1e-3"])
    assert found == {"clip.seconds": 2, "levels": [0, 1], "a": "b=c", "none": None, "x": 1e-3}


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="ascii", exclude_categories=["Cc"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="ascii", categories=["L"])), inner),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.from_regex(r"[a-z_]{1,8}(\.[a-z_]{1,8}){0,2}", fullmatch=True), VALUES))
def test_settings_round_trip(values):
    assert parse_settings([f"{key}={json.dumps(value)}" for key, value in values.items()]) == values


PARTS = r"""name inner size : - [ ] { } , 1 0 e . &a *a ? | > ' " << % @ # --- ... ~ \x é = !
!!int !!binary !!set !!omap !!bool !!float !!null !!timestamp"""
YAML_LIKE = st.lists(
    st.sampled_from([*PARTS.split(), ": ", "- ", "? ", "\n", "  ", "\t", "\ufeff", "\ud800", "\x00"])
).map("".join)


def usage_error(call: Callable[[], object]) -> str | None:
    """The message of the `UsageError` that a call raises, which is one line; None where it raises nothing."""
    try:
        call()
    except UsageError as error:
        message = str(error)
    else:
        return None
    assert message.isprintable()
    return message


@settings(deadline=None, max_examples=300)
@given(st.text() | YAML_LIKE)
@example("&a [*a]")
@example("name: &a [*a]")
@example("name: x\ninner: &a {size: *a}")
@example("? {a: b}\n: c")
@example("{[]: 1}")
@example("!!python/name:os.system ''")
def test_arbitrary_text_is_settings_or_a_usage_error(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    message = usage_error(lambda: load_yaml(path, Outer))
    assert message is None or "any.yaml: " in message


@settings(deadline=None, max_examples=200)
@given(st.text() | YAML_LIKE)
def test_arbitrary_settings_are_values_or_a_usage_error(text):
    usage_error(lambda: parse_settings([text, f"name={text}"]))


@settings(deadline=None)
@given(VALUES, st.sampled_from(["name", "flag", "numbers", "weights", "inner", "inner.size", "other", "zzz", "a.b"]))
def test_any_value_of_any_key_fits_or_is_a_usage_error(value, key):
    message = usage_error(lambda: Outer(name="x").replace(**{key: value}))
    assert message is None or key.split(".")[0] in message


def test_shared_parts_do_not_make_long_errors(tmp_path):
    """Aliases can make a small file a value of millions of parts."""
    lines = ["name: x", "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    with pytest.raises(UsageError) as caught:
        load_yaml(write(tmp_path, "\n".join([*lines, "numbers: *a9"])), Outer)
    assert len(str(caught.value)) < 400
    with pytest.raises(UsageError) as caught:
        Outer(name="x", numbers=parse_yaml("\n".join([*lines[1:], "b: *a9"]))["b"])
    assert len(str(caught.value)) < 400


def test_json_schema_and_descriptions():
    schema = json_schema(Outer)
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["name"]
    assert json.loads(json.dumps(schema)) == schema
    assert [describe(field) for field in Inner.model_fields.values()] == [
        "a whole number from 1 up",
        "a number above 0 to below 1",
    ]


def test_brief_values():
    assert [brief(value) for value in (None, True, (1,), "a\nb")] == ["null", "true", "[1]", r"'a\nb'"]
    assert len(brief("x" * 1000)) < 100


def test_first_line():
    assert first_line(ValueError("\n one\ntwo")) == "one"
    assert first_line(ValueError()) == "ValueError"
