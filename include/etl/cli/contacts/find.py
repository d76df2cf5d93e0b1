"""Finds the addresses that a command names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from etl.errors import PermanentError

if TYPE_CHECKING:
    from etl.db.connection import Connection
    from etl.notify.bounces.store.contacts import Contact

MAX_CONTACTS = 1_000
"""Addresses that one user or one mailbox may have."""

Who = Annotated[
    str,
    typer.Argument(
        metavar="USER|ADDRESS", help="A user's id in the application, or an address in any way of writing it."
    ),
]


class ContactMissing(PermanentError):
    """Nobody has such an address."""

    def __init__(self) -> None:
        super().__init__(
            "no user has this id or this address; give the id in the application, as in core.users.reference, or the "
            "whole address."
        )


def find_contacts(db: Connection, who: str) -> list[Contact]:
    """Return the addresses of a user, or those that are this mailbox.

    Raises
    ------
    ContactMissing
        If there are none.
    """
    from etl.notify.bounces.store import contacts

    found = contacts.find(db, who.strip(), limit=MAX_CONTACTS)
    if not found:
        raise ContactMissing
    return found
