from datetime import date
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from dev.bank import journal
from dev.bank.__main__ import main
from dev.bank.bank import Bank
from dev.bank.changes import Access, AccessChanged, CreatedTransaction, TransactionsCreated
from tests.unit.bank import purchases

ENVIRONMENT = {"BANK_CLIENT_ID": "client", "BANK_SECRET": "hush"}


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    served: dict[str, Any] = {}
    monkeypatch.setattr(uvicorn, "run", lambda app, **options: served.update(options, app=app, bank=app.state.bank))
    return served


@pytest.mark.parametrize("absent", ENVIRONMENT)
def test_a_missing_credential_stops_the_start(absent: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--port", "8700"], {name: value for name, value in ENVIRONMENT.items() if name != absent})
    output = capsys.readouterr().err
    assert f"{absent} is not set; set it to what the bank's client will send" in output
    assert "hush" not in output


def test_opening_after_today_stops_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--port", "8700", "--day", "2026-06-29", "--opened", "2026-06-30"], ENVIRONMENT)
    assert "open it on that day or before" in capsys.readouterr().err


def test_requests_are_not_logged(served: dict[str, Any]) -> None:
    main(["--port", "8700"], ENVIRONMENT)
    assert served["access_log"] is False


def test_ledgers_begin_120_days_before_the_day_by_default(served: dict[str, Any]) -> None:
    main(["--port", "8700", "--day", "2026-06-29", "--seed", "seed"], ENVIRONMENT)
    bank: Bank = served["bank"]
    assert (bank.opened_on.isoformat(), bank.today.isoformat()) == ("2026-03-01", "2026-06-29")


def test_faults_are_enabled_by_name_and_rate(served: dict[str, Any]) -> None:
    main(["--port", "8700", "--fault", "slow=0.5", "--fault", "mutation=1"], ENVIRONMENT)
    assert served["bank"].faults.rates == {"slow": 0.5, "mutation": 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fault", "slwo=1"], "there is no fault 'slwo'"),
        (["--fault", "slow=2"], "it must be 0 to 1"),
        (["--fault", "slow"], "argument --fault: invalid"),
        (["--limits", "some"], "use plaid, off, or a factor above 0"),
        (["--csv", "/nowhere.csv"], "No such file"),
    ],
)
def test_wrong_options_stop_the_start(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--port", "8700", *options], ENVIRONMENT)
    assert message in capsys.readouterr().err


def test_changes_made_by_requests_survive_a_restart(served: dict[str, Any], tmp_path: Path) -> None:
    arguments = ["--port", "8700", "--journal", str(tmp_path / "journal.jsonl")]
    main(arguments, ENVIRONMENT)
    bank: Bank = served["bank"]
    coffee = CreatedTransaction(date(2026, 6, 29), date(2026, 6, 29), date(2026, 6, 29), 305, "COFFEE")
    bank.changes.record(AccessChanged(7, Access.LOCKED))
    bank.changes.record(TransactionsCreated(8, [coffee]))
    main(arguments, ENVIRONMENT)
    restarted: Bank = served["bank"]
    assert restarted.changes is not bank.changes
    assert (restarted.changes.access(7), list(restarted.changes.created(8))) == (Access.LOCKED, [coffee])
    assert len(journal.read(tmp_path / "journal.jsonl")) == 2


@pytest.mark.parametrize("named", ["option", "variable"])
def test_real_purchases_are_served_when_a_file_is_named(served: dict[str, Any], tmp_path: Path, named: str) -> None:
    file = str(purchases.write(tmp_path / "purchases.csv"))
    options = ["--csv", file] if named == "option" else []
    variables = {"SANDBOX_CSV": file} if named == "variable" else {}
    main(["--port", "8700", *options], {**ENVIRONMENT, **variables})
    assert served["bank"].purchases.item_count == 3
