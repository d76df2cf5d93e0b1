"""The completion of a shell: commands, and names of declarations."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from etl.catalog.entities import ENTITIES
from etl.catalog.notices import NOTICES
from etl.catalog.queues import QUEUES
from etl.declare.notice import Consent
from etl.sync.logins.store.login_state import LoginState
from tests.project_copy import ProjectCopy
from tests.unit.cli.processes import BOTH_COMMANDS, INSTALLED, MODULE, run

ENTITY_NAMES = [entity.name for entity in ENTITIES]
NOTICE_NAMES = [notice.name for notice in NOTICES]
CATEGORIES = sorted({each.category.name for each in NOTICES if each.category.consent is not Consent.NONE})


def bash_environment(line: str) -> dict[str, str]:
    words = line.split(" ")
    return {
        **os.environ,
        "_SLUICE_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("sluice rep", ["replay"]),
        ("sluice plan ", ENTITY_NAMES),
        ("sluice replay tr", ["transactions"]),
        ("sluice rejects list --entity ", ENTITY_NAMES),
        ("sluice queues purge ", [queue.name for queue in QUEUES]),
        ("sluice logins list --state ", [state.value for state in LoginState]),
        ("sluice logins re", ["resume", "restore"]),
        ("sluice notify plan ", NOTICE_NAMES),
        ("sluice notify preview monthly_", ["monthly_report"]),
        ("sluice notify send ", NOTICE_NAMES),
        ("sluice notify deliveries --notice ", NOTICE_NAMES),
        ("sluice notify suppress --channel ", ["email", "push", "desktop"]),
        ("sluice notify suppressed --channel ", ["email", "push", "desktop"]),
        ("sluice notify consents 17 ", CATEGORIES),
        ("sluice notify consents 17 reports ", ["yes", "no"]),
        ("sluice notify resolve 17 --unknown ", ["resend", "drop"]),
    ],
)
def test_names_are_completed(line: str, values: list[str]) -> None:
    result = run(*INSTALLED, environment=bash_environment(line))
    assert (result.stdout.split(), result.stderr) == (values, "")


@BOTH_COMMANDS
def test_the_script_of_bash_completes_the_installed_command(command: tuple[str, ...], tmp_path: Path) -> None:
    script = tmp_path / "completion.sh"
    shown = run("bash", "-c", f"{' '.join(command)} --show-completion; true")
    script.write_text(shown.stdout)
    code = f"""
        source {script}
        complete -p sluice
        COMP_WORDS=(sluice notify plan monthly_) COMP_CWORD=3
        _sluice_completion {INSTALLED[0]}
        echo "${{COMPREPLY[@]}}"
    """
    result = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert result.stdout.splitlines() == ["complete -o default -F _sluice_completion sluice", "monthly_report"]
    assert result.stderr == ""


def test_a_name_and_its_summary_are_one_line() -> None:
    environment = {
        **os.environ,
        "_SLUICE_COMPLETE": "complete_fish",
        "_TYPER_COMPLETE_ARGS": "sluice notify plan ",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    lines = run(*INSTALLED, environment=environment).stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == NOTICE_NAMES
    assert all(line.split("\t")[1] for line in lines)


def test_a_completion_prints_no_warning_about_a_wrong_declaration(tmp_path: Path) -> None:
    project = ProjectCopy.make(tmp_path / "project")
    project.declaration("broken").write_text('"""Broken."""\n')
    environment = project.environment()
    assert "warning: include/etl/catalog/entities/broken.py: " in run(*MODULE, "queues", environment=environment).stderr
    result = run(*MODULE, environment={**project.environment(bash_environment("sluice plan "))})
    assert (result.stdout.split(), result.stderr) == (ENTITY_NAMES, "")
