"""Connections as Sluice reads them from the environment, held against Airflow's own parser."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from etl.errors import SettingInvalid
from etl.settings import Endpoint

# Set before Airflow is imported, which writes to its home.
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="sluice-contract-"))

SECRET = "hunter2"
FIELDS = ("host", "port", "login", "password", "schema")

texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12)
words = st.text("abcxyzABCXYZ0189-._", min_size=1, max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
extras = st.dictionaries(texts | st.sampled_from(["db", "ssl", "__extra__"]), values, max_size=4)
hosts = st.one_of(
    words,
    texts,
    st.builds("{}://{}".format, st.sampled_from(["https", "http", "postgres", "redis"]), words),
    st.builds("/{}/{}".format, words, words),
    st.sampled_from(
        [
            "::1",
            "2001:db8::1",
            "Bank.Example",
            "Bank.Example/V2",
            "a@b",
            "a:1",
            "https://bank.example/v2",
            "1.2.3.4,5.6.7.8",
        ]
    ),
)


@st.composite
def connections(draw: st.DrawFn) -> dict[str, Any]:
    """Return the fields of a connection."""
    return draw(
        st.fixed_dictionaries(
            {"conn_type": st.sampled_from(["http", "https", "postgres", "redis", "smtp", "google_cloud_platform"])},
            optional={
                "host": hosts,
                "port": st.integers(0, 65_535),
                "login": texts,
                "password": texts,
                "schema": texts | words,
                "extra": extras.map(json.dumps) | extras.map(lambda extra: json.dumps(extra, ensure_ascii=False)),
            },
        )
    )


def airflow_connection(**fields: Any) -> Any:
    from airflow.sdk import Connection

    logging.getLogger("airflow.sdk.definitions.connection").disabled = True
    return Connection(conn_id="warehouse", **fields)


def parsed_by_airflow(text: str) -> dict[str, Any] | None:
    """Return the fields of a connection as Airflow's workers read them; None if they refuse it."""
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowException

    text = text.strip()
    try:
        is_json = text.startswith("{")
        connection = (
            Connection.from_json(text, conn_id="warehouse") if is_json else Connection.from_uri(text, "warehouse")
        )
        extra = connection.extra_dejson if connection.extra else {}
    except (AirflowException, ValueError, TypeError, AttributeError):
        return None
    fields: dict[str, Any] = {name: getattr(connection, name) or ("" if name != "port" else 0) for name in FIELDS}
    return {**fields, "extra": extra}


def parsed_by_sluice(text: str) -> dict[str, Any] | None:
    try:
        endpoint = Endpoint.from_environment("warehouse", {"AIRFLOW_CONN_WAREHOUSE": text})
    except SettingInvalid:
        return None
    return {**{name: getattr(endpoint, name) for name in FIELDS}, "extra": endpoint.extra}


@given(connections())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example({"conn_type": "redis", "host": "redis", "extra": json.dumps({"db": 1, "ssl": True})})
@example({"conn_type": "http", "host": "https://bank.example", "login": "user", "password": SECRET})
@example({"conn_type": "http", "host": "https://bank.example/v2", "password": "a/b@c:d", "schema": "a/b"})
@example({"conn_type": "postgres", "host": "/var/run/Postgres", "extra": json.dumps({"__extra__": {"__extra__": 1}})})
@example({"conn_type": "http", "host": "Bank.Example/V2", "port": 1, "password": "x"})
@example({"conn_type": "postgres", "host": "h", "extra": json.dumps({"options": "", "sslmode": "require"})})
@example({"conn_type": "http", "host": "h", "extra": json.dumps({"__extra__": 0})})
@example({"conn_type": "http", "host": "h", "extra": json.dumps({"__extra__": ":"})})
def test_a_uri_is_read_as_airflow_reads_it_unless_its_extra_is_no_object(fields: dict[str, Any]) -> None:
    uri = airflow_connection(**fields).get_uri()
    assert parsed_by_sluice(uri) == (parsed_by_airflow(uri) if has_object(uri) else None)


def has_object(uri: str) -> bool:
    """Return whether the extra of a URI is an object, if it has one as JSON; Airflow takes what is none for nothing."""
    text = dict(parse_qsl(urlsplit(uri).query, keep_blank_values=True)).get("__extra__")
    try:
        return not text or isinstance(json.loads(text), dict)
    except ValueError:
        return False


@given(
    st.sampled_from(["postgres", "postgresql", "http", "redis", ""]),
    st.sampled_from(["://", "://https://", "://a:b://", "//", "://x://y://"]),
    st.text("ab:@/?#[]%=&_1 é", max_size=20),
)
@settings(max_examples=300, deadline=None)
def test_a_uri_that_nobody_generated_is_read_or_refused_as_airflow_does(scheme: str, separator: str, rest: str) -> None:
    uri = f"{scheme}{separator}{rest}"
    assume(not uri.strip().startswith("{") and uri.strip())
    assert parsed_by_sluice(uri) == parsed_by_airflow(uri)


@given(connections())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_airflow_reads_back_unchanged_is_what_sluice_reads(fields: dict[str, Any]) -> None:
    connection = airflow_connection(**fields)
    uri = connection.get_uri()
    given_fields = {name: getattr(connection, name) or ("" if name != "port" else 0) for name in FIELDS}
    given_fields["extra"] = connection.extra_dejson
    assume(parsed_by_airflow(uri) == given_fields)
    assert parsed_by_sluice(uri) == given_fields


@given(connections())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_json_is_read_as_airflow_reads_it(fields: dict[str, Any]) -> None:
    connection = airflow_connection(**fields)
    text = connection.as_json()
    given_fields = {name: getattr(connection, name) or ("" if name != "port" else 0) for name in FIELDS}
    assert parsed_by_sluice(text) == parsed_by_airflow(text) == {**given_fields, "extra": connection.extra_dejson}
    nested = json.loads(text)
    as_text = json.dumps({**nested, "extra": json.dumps(nested.get("extra", {}))})
    assert parsed_by_sluice(as_text) == parsed_by_airflow(as_text)


def test_a_field_that_airflow_does_not_know_is_refused() -> None:
    text = '{"host": "db", "database": "sluice"}'
    assert parsed_by_airflow(text) is None
    assert parsed_by_sluice(text) is None


@given(connections(), st.sampled_from(["{}", "x/{}", "x@{}", "{}#x", "1/{}"]), st.sampled_from(["quoted", "unquoted"]))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example({"conn_type": "http", "host": "https://bank.example", "login": "user"}, "{}", "quoted")
@example({"conn_type": "postgres", "host": "db", "login": "user", "schema": "sluice"}, "1/{}", "unquoted")
def test_no_repr_shows_a_password_or_an_extra(fields: dict[str, Any], form: str, written: str) -> None:
    password = form.format(SECRET)
    fields = {**fields, "login": "user", "extra": json.dumps({"private_key": SECRET, "nested": [{"token": SECRET}]})}
    uri = airflow_connection(**{**fields, "password": password}).get_uri()
    text = uri if written == "quoted" else uri.replace(quote(password, safe=""), password)
    for connection in (text, airflow_connection(**{**fields, "password": password}).as_json()):
        try:
            shown = repr(Endpoint.from_environment("warehouse", {"AIRFLOW_CONN_WAREHOUSE": connection}))
        except SettingInvalid as error:
            shown = str(error)
        assert SECRET not in shown


@pytest.mark.parametrize("host", [f"https://user:{SECRET}@bank.example", f"{SECRET}@db", f"https://{SECRET}@b@c"])
def test_no_repr_shows_credentials_that_stand_in_the_host(host: str) -> None:
    shown = repr(Endpoint(host, schema=host))
    assert SECRET not in shown
    assert "…@" in shown
