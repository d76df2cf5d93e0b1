"""Preparation of the stack: its log says in one sentence what is wrong."""

import pytest

from deploy import prepare
from etl.errors import DeclarationError


def test_an_expected_error_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise DeclarationError("SLUICE_CATALOG: /srv/sluice/catalog is empty")

    monkeypatch.setattr(prepare, "require_strong_secrets", lambda _: None)
    monkeypatch.setattr(prepare, "_ensure_databases", lambda _: None)
    monkeypatch.setattr(prepare, "_migrate", refuse)
    monkeypatch.setattr("sys.argv", ["prepare"])
    with pytest.raises(SystemExit) as stopped:
        prepare.main()
    assert stopped.value.code == "error: SLUICE_CATALOG: /srv/sluice/catalog is empty"
