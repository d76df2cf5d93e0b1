import json
from datetime import date
from pathlib import Path

from cryptography.fernet import Fernet

from dev.servers import bank, private_files, valkey
from dev.servers.bank import Sandbox
from dev.stack import saved_state, stack
from tests.unit.stack.samples import SECRETS, make_plan


def test_secrets_are_generated_once_and_readable_by_their_owner_only(tmp_path: Path) -> None:
    first = saved_state.load_secrets(tmp_path / "secrets.json")
    assert saved_state.load_secrets(tmp_path / "secrets.json") == first
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600
    assert len(set(vars(first).values())) == len(saved_state.SECRET_NAMES)


def test_signing_keys_are_long_enough_and_fernet_keys_valid(tmp_path: Path) -> None:
    secrets = saved_state.load_secrets(tmp_path / "secrets.json")
    assert min(len(secrets.jwt_secret), len(secrets.api_secret_key)) >= 64
    for key in (secrets.fernet_key, secrets.sluice_keys):
        Fernet(key)


def test_missing_secret_is_added_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    path.write_text(json.dumps({"admin_password": "chosen"}))
    secrets = saved_state.load_secrets(path)
    assert secrets.admin_password == "chosen"
    assert json.loads(path.read_text())["bank_secret"] == secrets.bank_secret


def test_secrets_are_not_in_the_repr_of_plan_and_stack(tmp_path: Path) -> None:
    text = repr(make_plan(tmp_path)) + repr(stack.from_plan(make_plan(tmp_path), caller_environment={}))
    assert not [secret for secret in vars(SECRETS).values() if secret in text]


def test_file_is_replaced_atomically_and_made_private(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o644)
    private_files.write(path, "new")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o600)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_tail_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a\nb\nc\n")
    assert private_files.tail(tmp_path / "log", 2) == ("b", "c")
    assert private_files.tail(tmp_path / "none", 2) == ()


def test_saved_bank_is_loaded_unchanged(tmp_path: Path) -> None:
    before = Sandbox("acme", opened=date(2026, 1, 1), day=date(2026, 3, 1))
    bank.save(tmp_path / "bank.json", before)
    assert bank.load(tmp_path / "bank.json") == before


def test_advanced_bank_keeps_its_customers_and_their_history() -> None:
    before = Sandbox("acme", opened=date(2026, 1, 1), day=date(2026, 3, 1))
    assert bank.advance(before, 2) == Sandbox("acme", opened=date(2026, 1, 1), day=date(2026, 3, 3))


def test_new_bank_has_a_history() -> None:
    sandbox = bank.new_sandbox(date(2026, 5, 1))
    assert (sandbox.opened, sandbox.day) == (date(2026, 5, 1) - bank.HISTORY, date(2026, 5, 1))


def test_name_of_valkeys_folder_is_escaped() -> None:
    text = valkey.render_configuration(port=1, password="p", folder=Path('/a "b"\\c'))
    assert 'dir "/a \\"b\\"\\\\c"' in text.splitlines()
