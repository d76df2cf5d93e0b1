import json
from pathlib import Path

from deploy.api_server import AUTH_MANAGER_VARIABLE, uses_simple_auth, write_passwords


def test_password_file_is_owner_only_and_rewritten_at_each_start(tmp_path: Path) -> None:
    path = tmp_path / "new" / "passwords.json"
    for password in ("one", "two"):
        write_passwords(path, password)
    assert json.loads(path.read_text()) == {"admin": "two"}
    assert path.stat().st_mode & 0o777 == 0o600


def test_only_the_default_auth_manager_is_simple_auth() -> None:
    assert uses_simple_auth({})
    assert not uses_simple_auth(
        {AUTH_MANAGER_VARIABLE: "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"}
    )
