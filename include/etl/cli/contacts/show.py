"""`sluice contacts show`: the addresses of a user, what was said against them, and why they ended."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from etl.cli.contacts.find import Who, find_contacts
from etl.cli.help import AsJson, examples
from etl.cli.terminal import print_json, print_line, truncate

if TYPE_CHECKING:
    from etl.notify.bounces.store.bounces import Bounce
    from etl.notify.bounces.store.contacts import Contact, ContactEvent

_JSON = (
    "a list of `contact_id`, `user_id`, `user_reference`, `channel`, `address`, `created_at`, `ended_at`, `ended_for`, "
    "`events` (of `event`, `reason`, `actor` and `happened_at`) and `bounces` (of `kind`, `source`, `status`, "
    "`detail`, `tried_at`, `recorded_at`, `counts`, `accepted_at` and `delivery_id`)"
)


@examples("sluice contacts show 4711", "sluice contacts show joe@example.org --json", json=_JSON)
def show_contacts(
    who: Who,
    *,
    limit: Annotated[
        int, typer.Option(help="Maximum number of bounces and events of each address.", min=1, max=1_000)
    ] = 20,
    as_json: AsJson = False,
) -> None:
    """Show addresses: whether they are used, why they ended or were revived, and what was said against them."""
    from etl.db.connection import connect_warehouse
    from etl.notify.bounces.store import bounces, contacts

    with connect_warehouse() as db:
        shown = [
            (
                contact,
                contacts.list_events(db, [contact.contact_id], limit=limit),
                bounces.list_by_contact(db, contact.contact_id, limit=limit),
            )
            for contact in find_contacts(db, who)
        ]
    if as_json:
        print_json([{**vars(contact), "events": events, "bounces": said} for contact, events, said in shown])
        return
    for contact, events, said in shown:
        _print_contact(contact, events, said)


def _print_contact(contact: Contact, events: list[ContactEvent], said: list[Bounce]) -> None:
    if contact.ended_at is None:
        state = f"used since {_format(contact.created_at)}"
    else:
        state = f"ended {_format(contact.ended_at)} ({contact.ended_for or 'no reason'})"
    print_line(f"user {contact.user_reference}, {contact.channel} {truncate(contact.address)}: {state}")
    for event in events:
        print_line(f"    {_format(event.happened_at)}  {event.event} by {event.actor}: {event.reason}")
    for bounce in said:
        origin = "reported" if bounce.source == "report" else "refused"
        line = f"    {_format(bounce.tried_at)}  {bounce.kind}, {origin}: {bounce.status} {bounce.detail}".rstrip()
        print_line(f"{line} ({_describe(bounce)}; delivery {bounce.delivery_id})")


def _describe(bounce: Bounce) -> str:
    if bounce.kind not in ("hard", "soft"):
        return "says nothing about the address" if bounce.kind == "policy" else "suppressed at once"
    if bounce.accepted_at is not None:
        return f"accepted a mail on {_format(bounce.accepted_at)}"
    if bounce.counts is None:
        return "not judged yet"
    return "counts" if bounce.counts else "does not count"


def _format(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
