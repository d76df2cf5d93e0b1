"""Files of logins for `sluice link`, and what it refuses before any login is linked."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from etl.catalog import entities
from etl.catalog.providers.plaid import PLAID
from etl.cli import arguments
from etl.cli.arguments import find_provider
from etl.cli.logins.link import LoginsFileInvalid, _read_file, _require_one
from etl.declare.fault import DeclarationFault
from etl.errors import DeclarationError


def test_a_file_of_logins_may_come_from_a_spreadsheet_and_lack_ids(tmp_path: Path) -> None:
    file = tmp_path / "logins.csv"
    file.write_bytes(b"\xef\xbb\xbfuser,access_token,note\r\nann, t1 ,x\r\n")
    assert _read_file(file) == [("ann", "t1", "")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it has no column access_token"),
        (b"user,token\nann,t", "it has no column access_token"),
        (b"user,access_token\n", "it has no login"),
        (b"user,access_token\nann,t\nbob,\n", "line 3 has no user or no access_token"),
        (b"user,access_token\n\xff,t\n", "it cannot be read: UnicodeDecodeError"),
    ],
)
def test_a_file_of_logins_with_a_fault_links_none_and_shows_no_token(
    tmp_path: Path, content: bytes, message: str
) -> None:
    file = tmp_path / "logins.csv"
    file.write_bytes(content)
    with pytest.raises(LoginsFileInvalid, match=f"{message}.*; no login was linked. Write a CSV file"):
        _read_file(file)


@pytest.mark.parametrize("given", [("", "", None), ("p", "a", None), ("", "a", Path("f"))])
def test_exactly_one_way_to_link_is_given(given: tuple[str, str, Path | None]) -> None:
    with pytest.raises(typer.BadParameter, match="exactly one of --public-token, --access-token and --file"):
        _require_one(*given)


def test_the_only_provider_needs_no_name_unless_a_wrong_file_may_hold_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arguments, "PROVIDERS", {"plaid": PLAID})
    monkeypatch.setattr(entities, "FAULTS", ())
    assert find_provider("") is PLAID
    monkeypatch.setattr(entities, "FAULTS", (DeclarationFault("accounts", "accounts.py", "it is wrong"),))
    assert find_provider("plaid") is PLAID
    with pytest.raises(DeclarationError, match=r"accounts\.py: it is wrong"):
        find_provider("")
