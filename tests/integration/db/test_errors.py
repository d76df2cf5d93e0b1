"""Errors of the warehouse name what failed and where, and quote no value of a row."""

from __future__ import annotations

import traceback

import psycopg
import pytest

from dev.stack.stack import Stack
from etl.db.connection import Connection

SECRET = "Jane Doe 4711"
USER = "insert into core.users (user_id, reference) overriding system value values (1, %(secret)s)"
CONTACT = "insert into notify.contacts (user_id, channel, address) values (1, 'email', %(secret)s)"


@pytest.fixture
def user(db: Connection) -> None:
    db.execute(USER, {"secret": SECRET})
    db.execute(CONTACT, {"secret": SECRET})


@pytest.mark.usefixtures("user")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (USER.replace("(1,", "(2,"), "constraint users_reference_key, table core.users]"),
        (CONTACT.replace("(1,", "(7,"), "constraint contacts_user_id_fkey, table notify.contacts]"),
        (CONTACT.replace("(1,", "(null,"), "SQLSTATE 23502, table notify.contacts, column user_id]"),
        ("select 1 / length(replace(%(secret)s, %(secret)s, ''))", "a value is bad (DivisionByZero) [SQLSTATE 22012]"),
        ("select %(secret)s::text::int", "a value is bad (InvalidTextRepresentation) [SQLSTATE 22P02]"),
        ("select %(secret)s::text::date", "a value is bad (InvalidDatetimeFormat) [SQLSTATE 22007]"),
        ("select %(secret)s::text::notify.state", "a value is bad (InvalidTextRepresentation) [SQLSTATE 22P02]"),
        ("select %(secret)s::text::jsonb", "a value is bad (InvalidTextRepresentation) [SQLSTATE 22P02]"),
        ("select no_such_column, %(secret)s::text", 'column "no_such_column" does not exist [SQLSTATE 42703]'),
    ],
)
def test_an_error_of_the_server_quotes_no_value(db: Connection, stack: Stack, query: str, expected: str) -> None:
    with pytest.raises(psycopg.Error) as caught:
        db.execute(query.encode(), {"secret": SECRET})
    assert expected in str(caught.value)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert SECRET not in stack.home.joinpath("logs", "postgres.log").read_text(errors="replace")


def test_an_error_of_a_copy_quotes_no_value(db: Connection) -> None:
    with pytest.raises(psycopg.Error) as caught, db.cursor() as cursor:  # noqa: SIM117
        with cursor.copy("copy core.users (user_id, reference) from stdin") as copy:
            copy.write(f"{SECRET}\tx\n")
    assert str(caught.value) == "a value is bad (InvalidTextRepresentation) [SQLSTATE 22P02]"


def test_an_error_keeps_its_class_and_its_fields(db: Connection) -> None:
    with pytest.raises(psycopg.errors.UniqueViolation) as caught:
        for _ in range(2):
            db.execute("insert into core.users (reference) values ('a')")
    assert caught.value.diag.constraint_name == "users_reference_key"
