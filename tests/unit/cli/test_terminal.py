from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from types import MappingProxyType

import pytest
from rich.console import Console

from etl.cli import terminal

CONTROL = "\x1b]0;title\x07\x9b31m\u202e\U000e0001"


class Color(Enum):
    RED = "red"


@dataclass(frozen=True)
class Point:
    x: int
    tags: tuple[str, ...]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Point(1, ("a", "b")), {"x": 1, "tags": ["a", "b"]}),
        (MappingProxyType({"color": Color.RED}), {"color": "red"}),
        (timedelta(minutes=1, milliseconds=500), 60.5),
        (datetime(2026, 11, 20, 8, tzinfo=UTC), "2026-11-20T08:00:00+00:00"),
        (date(2026, 11, 20), "2026-11-20"),
        (Decimal("1E+3"), "1000"),
        (Decimal("0.1000000000"), "0.1000000000"),
        (terminal.print_json, "etl.cli.terminal.print_json"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_json_holds_what_programs_can_read(capsys: pytest.CaptureFixture[str], value: object, expected: object) -> None:
    terminal.print_json({"value": value})
    output = capsys.readouterr().out
    assert json.loads(output) == {"value": expected}
    assert output.count("\n") == 1


def test_an_object_without_a_json_form_is_refused() -> None:
    with pytest.raises(TypeError, match="object cannot be printed as JSON"):
        terminal.print_json(object())


def test_lines_tables_and_json_hold_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.print_line(CONTROL)
    terminal.print_table(("name",), [(CONTROL,)])
    terminal.print_json([CONTROL])
    output = capsys.readouterr().out
    assert output.replace("\n", "").isprintable()
    assert output.count(r"\u001b]0;title\u0007\u009b31m\u202e\udb40\udc01") == 3


def test_a_table_shows_text_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.print_table(("name",), [("[red]x[/red] :fire:",)])
    assert "[red]x[/red] :fire:" in capsys.readouterr().out


@pytest.mark.parametrize("is_terminal", [True, False], ids=["terminal", "file"])
def test_a_cell_of_a_table_is_neither_wrapped_nor_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *, is_terminal: bool
) -> None:
    monkeypatch.setattr(Console, "is_terminal", is_terminal)
    monkeypatch.setenv("COLUMNS", "80")
    terminal.print_table(("name", "rows"), [("x " * 250, 1_234_567)], numbers=("rows",))
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert " " + "x " * 250 + "  1,234,567" in lines


def test_a_long_text_is_truncated_with_its_length() -> None:
    assert terminal.truncate("x" * 200) == "x" * 200
    assert terminal.truncate("x" * 1_201) == "x" * 200 + "… (1,201 characters)"


def test_progress_is_not_shown_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(terminal.track_progress([3, 1], "transactions")) == [3, 1]
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")
