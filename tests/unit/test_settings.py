import pytest

from etl.errors import SettingInvalid, SettingMissing
from etl.settings import Endpoint, Settings
from etl.sync.logins.store.token_cipher import TokenCipher


def test_a_missing_connection_is_named_with_where_to_define_it_on_a_local_stack_and_in_containers() -> None:
    with pytest.raises(SettingMissing, match="AIRFLOW_CONN_MYBANK is not set") as missing:
        Endpoint.from_environment("mybank", {"AIRFLOW_CONN_MYBANK": " "})
    assert "export it and run `python -m dev.stack up`" in str(missing.value)
    assert "connections.env" in str(missing.value)


def test_a_missing_setting_is_named_with_what_it_must_hold() -> None:
    with pytest.raises(SettingMissing, match="SLUICE_KEYS is not set; it must hold comma-separated Fernet keys"):
        Settings.from_environment({"SLUICE_RAW_ROOT": "file:///raw"})


@pytest.mark.parametrize(
    "text",
    [
        '{"conn_type": "postgres", "host": "db", "port": 5433, "login": "me", "password": "a/b@c", "schema": "sluice"}',
        "postgresql://me:a%2Fb%40c@db:5433/sluice",
    ],
)
def test_a_connection_reads_the_same_as_json_and_as_uri(text: str) -> None:
    endpoint = Endpoint.from_environment("warehouse", {"AIRFLOW_CONN_WAREHOUSE": text})
    assert endpoint == Endpoint(host="db", port=5433, login="me", password="a/b@c", schema="sluice")


@pytest.mark.parametrize(
    "text",
    [
        '{"host": "db", "extra": {"sslmode": "require"}}',
        '{"host": "db", "extra": "{\\"sslmode\\": \\"require\\"}"}',
        "postgresql://db?sslmode=require",
    ],
)
def test_the_extra_of_a_connection_is_read_in_each_form(text: str) -> None:
    endpoint = Endpoint.from_environment("warehouse", {"AIRFLOW_CONN_WAREHOUSE": text})
    assert endpoint == Endpoint(host="db", extra={"sslmode": "require"})


@pytest.mark.parametrize("text", ['{"password": "hunter2"', '{"password": "hunter2", "extra": "no"}', '{"extra": 1}'])
def test_a_broken_connection_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(SettingInvalid) as raised:
        Endpoint.from_environment("warehouse", {"AIRFLOW_CONN_WAREHOUSE": text})
    assert "AIRFLOW_CONN_WAREHOUSE" in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_secrets_are_not_in_the_repr() -> None:
    assert "hunter2" not in repr(Endpoint(host="h", password="hunter2"))
    assert "hunter2" not in repr(Settings(raw_root="file:///raw", keys=("hunter2",)))


def test_an_invalid_key_is_refused_without_showing_it() -> None:
    with pytest.raises(SettingInvalid, match="SLUICE_KEYS") as raised:
        TokenCipher(["hunter2"])
    assert "hunter2" not in str(raised.value)
