"""The help of every command, and its options."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from etl.cli.app import app

WIDTH = 80


def walk(command: Any, names: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command below a command, and itself, with the names by which it is called."""
    yield names, command
    for name, below in getattr(command, "commands", {}).items():
        yield from walk(below, (*names, name))


ROOT: Any = typer.main.get_command(app)
COMMANDS = list(walk(ROOT))
EVERY_COMMAND = pytest.mark.parametrize(
    ("names", "command"), COMMANDS, ids=[" ".join(("sluice", *names)) for names, _ in COMMANDS]
)


def examples_of(command: Any) -> list[str]:
    lines = (command.epilog or "").splitlines()
    return [line.strip() for line in lines if line.startswith("  ")]


def help_of(names: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    ROOT.main([*names, "--help"], prog_name="sluice", standalone_mode=False)
    return capsys.readouterr().out


@EVERY_COMMAND
def test_the_help_of_a_command_fits_a_terminal_and_ends_with_whole_examples(
    names: tuple[str, ...], command: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [line.rstrip() for line in help_of(names, capsys, monkeypatch).splitlines()]
    assert max(map(len, lines)) <= WIDTH
    examples = examples_of(command)
    assert 1 <= len(examples) <= 3
    start = lines.index(" Examples:") + 1
    assert lines[start : start + len(examples)] == [f"   {example}" for example in examples]


@EVERY_COMMAND
def test_the_examples_of_a_command_are_valid(
    names: tuple[str, ...], command: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    called: list[tuple[str, ...]] = []
    for path, each in COMMANDS:
        if path:
            monkeypatch.setattr(each, "callback", lambda path=path, **_: called.append(path))
    monkeypatch.chdir(tmp_path)
    for name in ("bounces.csv", "users.csv", "mail.log", "told.txt"):
        Path(name).touch()
    for example in examples_of(command):
        program, *arguments = shlex.split(example.partition(" | ")[0])
        assert program == "sluice"
        if "--install-completion" not in arguments:
            called.clear()
            ROOT.main(arguments, prog_name="sluice", standalone_mode=False)
            assert "--help" in arguments or called[-1][: len(names)] == names


@EVERY_COMMAND
def test_the_help_says_what_json_holds(names: tuple[str, ...], command: Any) -> None:
    has_option = any("--json" in parameter.opts for parameter in command.params)
    assert has_option == ("With --json it prints " in command.epilog)


@EVERY_COMMAND
def test_no_option_has_two_meanings(names: tuple[str, ...], command: Any) -> None:
    with ROOT.make_context("sluice", ["status"]) as context:
        parameters = command.get_params(typer.Context(command, parent=context))
    options = Counter(option for each in parameters for option in (*each.opts, *each.secondary_opts))
    assert [option for option, count in options.items() if count > 1] == []
    assert {"-h", "--help"} <= options.keys()


def test_every_list_and_table_has_json() -> None:
    without_json = {
        " ".join(names) for names, command in COMMANDS if not any("--json" in each.opts for each in command.params)
    }
    assert without_json == {
        *(
            "",
            "contacts",
            "correct",
            "describe",
            "history",
            "init",
            "keys",
            "link",
            "logins",
            "notify",
            "quarantine",
            "rejects",
            "queues purge",
        ),
        *("notify cancel", "notify pace", "notify pause", "notify resume", "notify seed", "notify send"),
        *("notify suppress", "notify unsubscribe", "notify unsuppress"),
        *("notify mark-sent", "notify restored", "notify trust"),
    }


def test_commands_are_grouped(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    output = help_of((), capsys, monkeypatch)
    positions = [output.index(text) for text in ("─ Sync ", "replay", "─ Notices ", "notify ", "─ Operate ", "migrate")]
    assert positions == sorted(positions)


def test_paragraphs_are_wrapped_by_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [line.strip() for line in help_of(("resync",), capsys, monkeypatch).splitlines()]
    start = next(number for number, line in enumerate(lines) if line.startswith("Rows that the provider"))
    *full, _ = lines[start : lines.index("", start)]
    assert len(full) == 3
    assert min(map(len, full)) > WIDTH - 20
