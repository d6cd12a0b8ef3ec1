"""JSON from dataclasses, and the schema that describes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from zosnet.api.schema import Schema, parse, render, schema_of, validate
from zosnet.model.errors import UsageError


@dataclass(frozen=True, slots=True)
class Inner:
    """Within."""

    n: int


@dataclass(frozen=True, slots=True)
class Outer:
    """Everything that a view may hold."""

    text: str
    kind: Literal["a", "b"]
    inner: Inner
    many: list[Inner]
    table: dict[str, float]
    maybe: int | None = None
    flag: bool = False
    anything: Any = None
    renamed: str = field(default="", metadata={"key": "newName", "help": "another name"})


GOOD = {"text": "x", "kind": "a", "inner": {"n": 1}, "many": [{"n": 2}], "table": {"y": 0.5}}
DEFINITIONS: dict[str, Schema] = {}
SCHEMA = schema_of(Outer, DEFINITIONS)


def test_what_is_rendered_fits_its_schema() -> None:
    value = Outer("x", "a", Inner(1), [Inner(2)], {"y": 0.5}, renamed="z")
    shown = render(value)
    assert shown["newName"] == "z" and shown["inner"] == {"n": 1}
    assert validate(SCHEMA, shown, DEFINITIONS) == []
    assert render({1: (Inner(3), Exception("text"))}) == {"1": [{"n": 3}, "text"]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"text": 1}, "of type string"),
        ({"kind": "c"}, "one of"),
        ({"inner": {}}, "n is missing"),
        ({"many": {}}, "of type array"),
        ({"many": [{"n": True}]}, "many[0].n must be of type integer"),
        ({"table": {"y": "z"}}, "of type number"),
        ({"maybe": "x"}, "of type integer"),
        ({"flag": 1}, "of type boolean"),
        ({"more": 1}, "not a known field"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], words: str) -> None:
    (trouble, *_) = validate(SCHEMA, GOOD | change, DEFINITIONS)
    assert words in trouble


def test_a_request_is_parsed_or_refused() -> None:
    assert parse(Inner, {"n": 3}) == Inner(3)
    wrongs: list[Any] = [{"n": "3"}, {}, [], None, 7]
    for wrong in wrongs:
        with pytest.raises(UsageError, match="body is wrong"):
            parse(Inner, wrong)


def test_the_schema_tells_names_help_and_what_is_required() -> None:
    described = DEFINITIONS["Outer"]
    assert described["properties"]["newName"]["description"] == "another name"
    assert described["required"] == ["text", "kind", "inner", "many", "table"]
