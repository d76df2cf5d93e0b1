import json
from datetime import date
from pathlib import Path

import pytest

from dev.demo.enrol import DEFAULT_USERS, user_count
from dev.servers import bank
from dev.servers.bank import Sandbox
from dev.servers.errors import BankServesOthers, PurchasesLost, PurchasesRefused
from dev.stack import chosen_servers, shell_environment
from dev.stack.home import Home
from tests.unit.bank import purchases
from tests.unit.stack.samples import SANDBOX

TODAY = date(2026, 5, 1)


def choose(home: Path, requested: Path | None = None, *, advance: int = 0) -> Sandbox:
    caller = {"SANDBOX_CSV": str(requested)} if requested else {}
    return chosen_servers.choose_bank(Home(home), caller_environment=caller, today=TODAY, advance_days=advance)


def choose_and_save(home: Path, requested: Path | None = None) -> Sandbox:
    sandbox = choose(home, requested)
    bank.save(Home(home).bank_file, sandbox)
    return sandbox


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return purchases.write(tmp_path / "purchases.csv")


def test_new_bank_invents_its_customers_unless_a_file_is_named(home: Path, file: Path) -> None:
    assert choose(home) == bank.new_sandbox(TODAY)
    source = choose(home, file).purchases
    assert source is not None
    assert (source.path, source.items) == (file, 3)


def test_bank_gets_its_file_as_an_option_and_no_program_inherits_the_variable(home: Path, file: Path) -> None:
    command = bank.command(choose(home, file), port=1)
    assert command[command.index("--csv") + 1] == str(file)
    assert "--csv" not in bank.command(choose(home), port=1)
    caller = {"SANDBOX_CSV": str(file)}
    assert not {"SANDBOX_CSV"} & set(shell_environment.for_programs({}, caller_environment=caller, home=Home(home)))


def test_relative_path_of_a_file_is_resolved_in_the_callers_folder(
    home: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.parent)
    source = choose(home, Path(file.name)).purchases
    assert source is not None
    assert source.path == file


def test_later_start_without_a_file_serves_that_of_the_first_start(home: Path, file: Path) -> None:
    first = choose_and_save(home, file)
    assert choose(home) == choose(home, file) == first


def test_day_of_a_saved_bank_is_advanced_and_that_of_a_new_one_is_not(home: Path, file: Path) -> None:
    assert choose(home, file, advance=2).day == TODAY
    first = choose_and_save(home, file)
    later = choose(home, advance=2)
    assert (later.day, later.purchases) == (date(2026, 5, 3), first.purchases)


def test_file_that_was_moved_is_served_from_its_new_path(home: Path, file: Path) -> None:
    choose_and_save(home, file)
    moved = file.rename(file.with_name("moved.csv"))
    source = choose(home, moved).purchases
    assert source is not None
    assert (source.path, source.items) == (moved, 3)


def test_home_of_invented_customers_rejects_a_file(home: Path, file: Path) -> None:
    choose_and_save(home)
    with pytest.raises(BankServesOthers, match=r"serves invented customers, and SANDBOX_CSV names .*--home") as refused:
        choose(home, file)
    assert str(home) in str(refused.value)


def test_home_whose_saved_bank_has_no_field_for_a_file_rejects_one(home: Path, file: Path) -> None:
    Home(home).bank_file.write_text(json.dumps({"seed": "acme", "opened": "2026-01-01", "day": "2026-05-01"}))
    assert choose(home) == Sandbox("acme", opened=date(2026, 1, 1), day=TODAY)
    with pytest.raises(BankServesOthers, match="invented"):
        choose(home, file)


def test_home_of_a_file_rejects_another(home: Path, file: Path, tmp_path: Path) -> None:
    choose_and_save(home, file)
    other = purchases.write(tmp_path / "other.csv", purchases.ROWS[:3])
    with pytest.raises(BankServesOthers, match=rf"serves the purchases of {file}, and SANDBOX_CSV names {other}"):
        choose(home, other)


@pytest.mark.parametrize("second_start", ["named", "not named"])
def test_home_of_a_file_rejects_its_changed_contents(home: Path, file: Path, second_start: str) -> None:
    choose_and_save(home, file)
    purchases.write(file, purchases.ROWS[:3])
    with pytest.raises(PurchasesLost, match="the file has changed; put the file back"):
        choose(home, file if second_start == "named" else None)


def test_home_whose_file_is_missing_asks_for_it(home: Path, file: Path) -> None:
    choose_and_save(home, file)
    file.unlink()
    with pytest.raises(PurchasesLost, match=rf"{file}: No such file or directory; put the file back"):
        choose(home)


def test_missing_file_is_rejected_whatever_the_home_serves(home: Path, file: Path) -> None:
    with pytest.raises(PurchasesRefused, match=r"SANDBOX_CSV names /nowhere\.csv, .*No such file"):
        choose(home, Path("/nowhere.csv"))
    choose_and_save(home)
    with pytest.raises(PurchasesRefused, match="No such file"):
        choose(home, Path("/nowhere.csv"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "columns are missing"),
        ("a.csv", b"\xff\xfe", "can't decode"),
        ("a.csv", f"{purchases.HEADER}\r\n".encode(), "it holds no purchase"),
        ("a.csv", f"{purchases.HEADER}\r\na,1,x\r\n".encode(), "line 2: 3 cells where the header has 11"),
        ("a.csv", f"{purchases.HEADER}\r\na,1,2014-04-02,,much,,,,x,1,y\r\n".encode(), "line 2: "),
        ("a.csv.gz", b"source_file", "Not a gzipped file"),
    ],
)
def test_invalid_file_is_rejected(home: Path, tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PurchasesRefused, match=f"which cannot be served: .*{message}.*; name a file"):
        choose(home, tmp_path / name)


def test_truncated_file_is_rejected(home: Path, tmp_path: Path) -> None:
    content = purchases.write(tmp_path / "whole.csv.gz").read_bytes()
    (tmp_path / "half.csv.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(PurchasesRefused, match="which cannot be served"):
        choose(home, tmp_path / "half.csv.gz")


def test_folder_and_a_name_that_cannot_be_configured_are_rejected(home: Path, tmp_path: Path) -> None:
    with pytest.raises(PurchasesRefused, match="Is a directory"):
        choose(home, tmp_path)
    with pytest.raises(PurchasesRefused, match="its name holds"):
        choose(home, purchases.write(tmp_path / "a ;b.csv"))


def test_at_most_all_customers_of_a_file_are_enrolled(home: Path, file: Path) -> None:
    of_file = choose(home, file)
    assert [user_count(requested, of_file) for requested in (None, 2, 240)] == [3, 2, 3]
    assert [user_count(requested, SANDBOX) for requested in (None, 2, 500)] == [DEFAULT_USERS, 2, 500]
