"""`sluice contacts end` and `revive`: end addresses by hand, and use ended ones again."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from etl.cli.contacts.find import Who, find_contacts
from etl.cli.help import AsJson, examples
from etl.cli.terminal import print_json, print_line

if TYPE_CHECKING:
    from etl.db.connection import Connection
    from etl.notify.bounces.store.contacts import EndedFilter

_FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]
_MAX_REASON_LENGTH = 200
_JSON = "`changed`, the number of addresses"
_REVIVE_JSON = "`changed`, the number of addresses, and `by_reason`, a list of `channel`, `ended_for` and `addresses`"


def _require_reason(reason: str) -> str:
    if not reason.strip() or not reason.isprintable() or len(reason) > _MAX_REASON_LENGTH:
        raise typer.BadParameter(f"write 1 to {_MAX_REASON_LENGTH} printable characters")
    return reason.strip()


@examples("sluice contacts end joe@example.org --reason 'moved, by telephone'", json=_JSON)
def end_contacts(
    who: Who,
    *,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; kept with the event.", callback=_require_reason)],
    as_json: AsJson = False,
) -> None:
    """Stop using addresses: those of a user, or those that are one mailbox; the next address of a user is used.

    To keep an address from getting anything, also of other accounts, use `sluice notify suppress`.
    """
    from etl.db.connection import connect_warehouse
    from etl.notify.bounces.store import contacts

    with connect_warehouse() as db:
        ids = [contact.contact_id for contact in find_contacts(db, who)]
        changed = contacts.end(db, ids, reason=reason, actor=_actor())
    if as_json:
        print_json({"changed": changed})
    else:
        typer.echo(f"{changed:,} addresses ended, {len(ids) - changed:,} had ended before")


@examples(
    "sluice contacts revive joe@example.org --because 'wrote to us'",
    "sluice contacts revive --since 2026-12-14 --until 2026-12-16 --dry-run",
    "sluice contacts revive --since 2026-12-14 --destination gmail.com",
    json=_REVIVE_JSON,
)
def revive_contacts(
    who: Annotated[
        str | None,
        typer.Argument(
            metavar="USER|ADDRESS",
            help="Only of this user or mailbox; by default all that ended in the time.",
            show_default=False,
        ),
    ] = None,
    *,
    since: Annotated[
        datetime | None,
        typer.Option(metavar="TIME", help="Only those that ended at or after this time, in UTC.", formats=_FORMATS),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(metavar="TIME", help="Only those that ended before this time, in UTC.", formats=_FORMATS),
    ] = None,
    reason: Annotated[
        str | None, typer.Option(metavar="CODE", help="Only those that ended for this reason, such as 550.")
    ] = None,
    destination: Annotated[
        str | None, typer.Option(metavar="DOMAIN", help="Only of this mail domain or push service.")
    ] = None,
    because: Annotated[
        str, typer.Option(metavar="TEXT", help="Why; kept with the event.", callback=_require_reason)
    ] = "by hand",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show how many there are.")] = False,
    as_json: AsJson = False,
) -> None:
    """Use ended addresses again: of a user, or all that ended in a time and for a reason.

    What was said against them before does not count any more. It does not change suppressions.
    """
    from etl.db.connection import connect_warehouse
    from etl.notify.bounces.store import contacts

    if who is None and since is None:
        raise typer.BadParameter("say whom to revive: a user, an address, or --since")
    with connect_warehouse() as db:
        ended = _filter(db, who, since=since, until=until, reason=reason, destination=destination)
        by_reason = contacts.count_ended(db, ended)
        changed = 0 if dry_run else sum(contacts.revive(db, ended, reason=because, actor=_actor()))
    if as_json:
        print_json({"changed": changed, "by_reason": by_reason})
        return
    for count in by_reason:
        print_line(f"{count.channel}, {count.ended_for or 'no reason'}: {count.addresses:,}")
    total = sum(count.addresses for count in by_reason)
    typer.echo(f"{total:,} addresses would be revived" if dry_run else f"{changed:,} addresses revived")


def _filter(
    db: Connection,
    who: str | None,
    *,
    since: datetime | None,
    until: datetime | None,
    reason: str | None,
    destination: str | None,
) -> EndedFilter:
    from etl.notify.bounces.store.contacts import EndedFilter

    ids = None if who is None else [contact.contact_id for contact in find_contacts(db, who)]
    first = datetime.min.replace(tzinfo=UTC) if since is None else since.replace(tzinfo=UTC)
    stop = datetime.max.replace(tzinfo=UTC) if until is None else until.replace(tzinfo=UTC)
    return EndedFilter(first, stop, reason, destination and destination.lower(), ids)


def _actor() -> str:
    """Return the name of the person at the command line, as the operating system has it."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
