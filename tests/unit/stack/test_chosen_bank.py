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


def decide(home: Path, named: Path | None = None, *, advance: int = 0) -> Sandbox:
    caller = {"SANDBOX_CSV": str(named)} if named else {}
    return chosen_servers.choose_bank(Home(home), caller_environment=caller, today=TODAY, advance_days=advance)


def start(home: Path, named: Path | None = None) -> Sandbox:
    sandbox = decide(home, named)
    bank.save(Home(home).bank_file, sandbox)
    return sandbox


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return purchases.write(tmp_path / "purchases.csv")


def test_new_bank_makes_up_its_customers_unless_a_file_is_named(home: Path, file: Path) -> None:
    assert decide(home) == bank.new_sandbox(TODAY)
    found = decide(home, file).purchases
    assert found is not None
    assert (found.path, found.items) == (file, 3)


def test_bank_is_told_which_file_to_serve_and_no_program_sees_the_callers_wish(home: Path, file: Path) -> None:
    command = bank.command(decide(home, file), port=1)
    assert command[command.index("--csv") + 1] == str(file)
    assert "--csv" not in bank.command(decide(home), port=1)
    caller = {"SANDBOX_CSV": str(file)}
    assert not {"SANDBOX_CSV"} & set(shell_environment.for_programs({}, caller_environment=caller, home=Home(home)))


def test_file_is_named_from_where_the_caller_is(home: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    found = decide(home, Path(file.name)).purchases
    assert found is not None
    assert found.path == file


def test_start_without_a_name_goes_on_with_the_file_of_the_first_start(home: Path, file: Path) -> None:
    first = start(home, file)
    assert decide(home) == decide(home, file) == first


def test_day_of_a_remembered_bank_is_advanced_and_that_of_a_new_one_is_not(home: Path, file: Path) -> None:
    assert decide(home, file, advance=2).day == TODAY
    first = start(home, file)
    later = decide(home, advance=2)
    assert (later.day, later.purchases) == (date(2026, 5, 3), first.purchases)


def test_file_that_was_moved_is_served_from_its_new_place(home: Path, file: Path) -> None:
    start(home, file)
    moved = file.rename(file.with_name("moved.csv"))
    found = decide(home, moved).purchases
    assert found is not None
    assert (found.path, found.items) == (moved, 3)


def test_home_of_invented_customers_refuses_a_file(home: Path, file: Path) -> None:
    start(home)
    with pytest.raises(BankServesOthers, match=r"serves invented customers, and SANDBOX_CSV names .*--home") as refused:
        decide(home, file)
    assert str(home) in str(refused.value)


def test_home_whose_bank_was_remembered_before_there_were_files_refuses_one(home: Path, file: Path) -> None:
    Home(home).bank_file.write_text(json.dumps({"seed": "acme", "opened": "2026-01-01", "day": "2026-05-01"}))
    assert decide(home) == Sandbox("acme", opened=date(2026, 1, 1), day=TODAY)
    with pytest.raises(BankServesOthers, match="invented"):
        decide(home, file)


def test_home_of_a_file_refuses_another(home: Path, file: Path, tmp_path: Path) -> None:
    start(home, file)
    other = purchases.write(tmp_path / "other.csv", purchases.ROWS[:3])
    with pytest.raises(BankServesOthers, match=rf"serves the purchases of {file}, and SANDBOX_CSV names {other}"):
        decide(home, other)


@pytest.mark.parametrize("again", ["named", "not named"])
def test_home_of_a_file_refuses_what_it_became(home: Path, file: Path, again: str) -> None:
    start(home, file)
    purchases.write(file, purchases.ROWS[:3])
    with pytest.raises(PurchasesLost, match="it holds others now; put the file back"):
        decide(home, file if again == "named" else None)


def test_home_of_a_file_that_is_gone_asks_for_it(home: Path, file: Path) -> None:
    start(home, file)
    file.unlink()
    with pytest.raises(PurchasesLost, match=rf"{file}: No such file or directory; put the file back"):
        decide(home)


def test_file_that_is_not_there_is_refused_whatever_the_home_serves(home: Path, file: Path) -> None:
    with pytest.raises(PurchasesRefused, match=r"SANDBOX_CSV names /nowhere\.csv, .*No such file"):
        decide(home, Path("/nowhere.csv"))
    start(home)
    with pytest.raises(PurchasesRefused, match="No such file"):
        decide(home, Path("/nowhere.csv"))


@pytest.mark.parametrize(
    ("name", "held", "found"),
    [
        ("a.csv", b"", "columns are missing"),
        ("a.csv", b"\xff\xfe", "can't decode"),
        ("a.csv", f"{purchases.HEADER}\r\n".encode(), "it holds no purchase"),
        ("a.csv", f"{purchases.HEADER}\r\na,1,x\r\n".encode(), "line 2: 3 cells where the header has 11"),
        ("a.csv", f"{purchases.HEADER}\r\na,1,2014-04-02,,much,,,,x,1,y\r\n".encode(), "line 2: "),
        ("a.csv.gz", b"source_file", "Not a gzipped file"),
    ],
)
def test_file_of_another_kind_is_refused(home: Path, tmp_path: Path, name: str, held: bytes, found: str) -> None:
    (tmp_path / name).write_bytes(held)
    with pytest.raises(PurchasesRefused, match=f"which cannot be served: .*{found}.*; name a file"):
        decide(home, tmp_path / name)


def test_file_that_is_cut_short_is_refused(home: Path, tmp_path: Path) -> None:
    whole = purchases.write(tmp_path / "whole.csv.gz").read_bytes()
    (tmp_path / "half.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PurchasesRefused, match="which cannot be served"):
        decide(home, tmp_path / "half.csv.gz")


def test_folder_and_a_name_that_cannot_be_configured_are_refused(home: Path, tmp_path: Path) -> None:
    with pytest.raises(PurchasesRefused, match="Is a directory"):
        decide(home, tmp_path)
    with pytest.raises(PurchasesRefused, match="its name holds"):
        decide(home, purchases.write(tmp_path / "a ;b.csv"))


def test_everyone_in_the_file_is_enrolled_and_nobody_else(home: Path, file: Path) -> None:
    real = decide(home, file)
    assert [user_count(asked, real) for asked in (None, 2, 240)] == [3, 2, 3]
    assert [user_count(asked, SANDBOX) for asked in (None, 2, 500)] == [DEFAULT_USERS, 2, 500]
