from typing import Any

import pytest
import uvicorn

from dev.bank.__main__ import main
from dev.bank.bank import Bank

ENVIRONMENT = {"BANK_CLIENT_ID": "client", "BANK_SECRET": "hush"}


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    served: dict[str, Any] = {}
    monkeypatch.setattr(uvicorn, "run", lambda app, **options: served.update(options, bank=app.state.bank))
    return served


@pytest.mark.parametrize("absent", ENVIRONMENT)
def test_a_missing_credential_stops_the_start(absent: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--port", "8700"], {name: value for name, value in ENVIRONMENT.items() if name != absent})
    said = capsys.readouterr().err
    assert f"{absent} is not set; set it to what the bank's client will send" in said
    assert "hush" not in said


def test_opening_after_today_stops_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--port", "8700", "--day", "2026-06-29", "--opened", "2026-06-30"], ENVIRONMENT)
    assert "open it on that day or before" in capsys.readouterr().err


def test_nothing_that_is_sent_is_logged(served: dict[str, Any]) -> None:
    main(["--port", "8700"], ENVIRONMENT)
    assert served["access_log"] is False


def test_ledgers_begin_120_days_before_the_day_unless_said(served: dict[str, Any]) -> None:
    main(["--port", "8700", "--day", "2026-06-29", "--seed", "seed"], ENVIRONMENT)
    bank: Bank = served["bank"]
    assert (bank.opened.isoformat(), bank.today.isoformat()) == ("2026-03-01", "2026-06-29")
