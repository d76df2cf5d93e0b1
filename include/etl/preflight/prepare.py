"""Preparing a statement: Postgres parses it, and resolves tables, columns, types and functions, without running it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from psycopg import errors
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import DiagnosticField, ExecStatus
from psycopg.pq.abc import PGresult

from etl.db.connection import Connection
from etl.declare.statements.script import Script

_UNKNOWN = 0
"""Postgres infers such a type."""

_FAULT_CLASSES = ("42", "22", "0A", "21", "2B")
"""Classes of SQLSTATE that are faults of a statement; any other error, such as a lock that is not granted, is not."""


@dataclass(frozen=True)
class Refusal:
    """Why Postgres refuses a statement.

    Parameters
    ----------
    message
        What it says, with its hint.
    position
        Index of the character at which it says so; None if it names none.
    """

    message: str
    position: int | None


def prepare(db: Connection, script: Script, values: Mapping[str, object]) -> dict[str, int] | Refusal:
    """Prepare a statement within a transaction, and return the columns that it returns, with the OIDs of their types.

    Parameters
    ----------
    values
        Values of the types that its parameters have in a run.
    """
    types = [_type_of(db, values.get(name)) for name in script.parameters]
    with db.transaction(force_rollback=True):
        result = db.pgconn.prepare(b"", script.text.encode(), types)
        if result.status != ExecStatus.COMMAND_OK:
            return _refusal(result)
        described = db.pgconn.describe_prepared(b"")
        names = ((described.fname(index) or b"").decode() for index in range(described.nfields))
        return {name: described.ftype(index) for index, name in enumerate(names)}


def _type_of(db: Connection, value: object) -> int:
    """Return the OID of the type in which psycopg sends a value."""
    return _UNKNOWN if value is None else Transformer(db).get_dumper(value, PyFormat.AUTO).oid


def _refusal(result: PGresult) -> Refusal:
    state, message, hint, position = (
        (result.error_field(field) or b"").decode()
        for field in (
            DiagnosticField.SQLSTATE,
            DiagnosticField.MESSAGE_PRIMARY,
            DiagnosticField.MESSAGE_HINT,
            DiagnosticField.STATEMENT_POSITION,
        )
    )
    if not state.startswith(_FAULT_CLASSES):
        raise errors.lookup(state)(message)
    return Refusal(f"{message} ({hint})" if hint else message, int(position) - 1 if position else None)
