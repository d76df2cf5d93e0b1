from pathlib import Path

import pytest

from dev.servers.errors import HomeRefused
from dev.stack import home


@pytest.mark.parametrize("name", ["100%", "a #b", "a ;b", "a\nb"])
def test_home_whose_name_cannot_be_configured_is_rejected(tmp_path: Path, name: str) -> None:
    with pytest.raises(HomeRefused, match="--home"):
        home.find(tmp_path / name)


def test_folder_with_other_files_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(HomeRefused, match="not empty"):
        home.find(tmp_path)


def test_empty_or_missing_folder_can_be_a_home(tmp_path: Path) -> None:
    assert home.find(tmp_path).folder == tmp_path
    assert home.find(tmp_path / "new").folder == tmp_path / "new"


def test_folder_that_cannot_be_created_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HomeRefused, match="cannot be created"):
        home.create(home.Home(tmp_path / "file"))


def test_home_is_accessible_to_its_owner_only(tmp_path: Path) -> None:
    home.create(home.Home(tmp_path / "home"))
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "home").iterdir()}
    assert modes == dict.fromkeys(("airflow", "logs", "mails", "postgres", "raw", "valkey"), 0o700) | {"lock": 0o600}
