from pathlib import Path

import pytest

from deploy import environment_file, secret_rules
from deploy.environment_file import EXAMPLE, fill_secrets, write


def settings() -> dict[str, str]:
    lines = fill_secrets(EXAMPLE.read_text(encoding="utf-8")).splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def as_container_variables(variables: dict[str, str]) -> dict[str, str]:
    names = {
        name.rpartition("__")[2]: name
        for name in (*secret_rules.SIGNING_KEY_VARIABLES, *secret_rules.FERNET_KEY_VARIABLES)
    }
    return {names.get(name, name): value for name, value in variables.items()}


def test_generated_secrets_pass_the_rules() -> None:
    assert list(secret_rules.problems(as_container_variables(settings()))) == []


def test_no_two_files_have_the_same_secrets() -> None:
    first, second = settings(), settings()
    empty = [line[:-1] for line in EXAMPLE.read_text().splitlines() if line.endswith("=") and line[0] != "#"]
    assert len(empty) == 13
    assert [name for name in empty if first[name] == second[name]] == []


def test_file_is_owner_only_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    write(path, "first")
    with pytest.raises(FileExistsError):
        write(path, "second")
    assert path.read_text() == "first"
    assert path.stat().st_mode & 0o777 == 0o600


def test_existing_file_is_kept_and_the_program_exits_with_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ".env"
    path.write_text("mine")
    monkeypatch.setattr("sys.argv", ["environment_file", str(path)])
    with pytest.raises(SystemExit, match="stays as it is"):
        environment_file.main()
    assert path.read_text() == "mine"
