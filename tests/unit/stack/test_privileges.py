from pathlib import Path

import pytest

from dev.servers.errors import AccountMissing, AccountUnnamed
from dev.servers.postgres import Cluster
from dev.servers.privileges import Account, Privileges, choose_privileges, namespace_works, unprivileged_account

NOBODY = Account("nobody", 65534, 65534)


def test_ordinary_user_runs_postgres_directly() -> None:
    assert choose_privileges(uid=1000, is_named=True, namespace_works=lambda: True) is Privileges.DIRECT


def test_root_prefers_a_namespace_to_copies() -> None:
    assert choose_privileges(uid=0, is_named=True, namespace_works=lambda: True) is Privileges.NAMESPACE
    assert choose_privileges(uid=0, is_named=True, namespace_works=lambda: False) is Privileges.DROPPED


def test_user_without_a_name_needs_a_namespace() -> None:
    assert choose_privileges(uid=4321, is_named=False, namespace_works=lambda: True) is Privileges.NAMESPACE
    with pytest.raises(AccountUnnamed, match="user 4321 has no name"):
        choose_privileges(uid=4321, is_named=False, namespace_works=lambda: False)


def test_namespace_that_cannot_run_the_program_does_not_work(tmp_path: Path) -> None:
    assert not namespace_works(NOBODY, program=tmp_path / "missing", folder=tmp_path)


def test_namespace_maps_the_user_to_a_named_account() -> None:
    cluster = Cluster(Path("/pg"), Path("/data"), Privileges.NAMESPACE, NOBODY)
    command = cluster.command("initdb", "-D", "/data")
    assert Path(command[0]).name == "unshare"
    assert command[1:] == ("--user", "--map-user=65534", "--map-group=65534", "--", "/pg/bin/initdb", "-D", "/data")
    assert cluster.owner is None


def test_without_a_namespace_the_account_runs_postgres_and_owns_its_files() -> None:
    cluster = Cluster(Path("/pg"), Path("/data"), Privileges.DROPPED, NOBODY)
    assert cluster.command("postgres") == ("/pg/bin/postgres",)
    assert cluster.owner == NOBODY


def test_error_names_the_missing_account() -> None:
    with pytest.raises(AccountMissing, match="no-such-account"):
        unprivileged_account("no-such-account")


def test_unprivileged_account_is_not_root() -> None:
    assert unprivileged_account().uid != 0
