"""Names that Postgres, or the tables of Sluice, have taken already."""

from __future__ import annotations

from etl.declare.validation import require_identifier
from etl.errors import DeclarationError

MAX_ENTITY_NAME = 57
"""Letters of an entity's name to which `notify_` or `etl_` can be prepended, and `_pkey` be appended."""

SYSTEM_COLUMNS = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})
"""Columns that every table has, so that no other can have their name."""

_OWN_RELATIONS = frozenset(
    {
        *("users", "provider_accounts", "replaced_accounts", "corrections"),
        *("due_logins", "effective_transactions"),
    }
)
"""Tables and views of the schema `core` that no entity fills."""


def require_table_name(where: str, name: str) -> None:
    """Refuse the name of an entity that `core` has another table, view or partition of."""
    require_identifier(where, "name", name)
    if len(name) > MAX_ENTITY_NAME:
        raise DeclarationError(f"{where}: its name has {len(name)} letters; shorten it to {MAX_ENTITY_NAME} at most")
    if name in _OWN_RELATIONS:
        raise DeclarationError(f"{where}: core.{name} is a table or view of Sluice itself; choose another name")
