"""`sluice notify restored`, `mark-sent` and `trust`: what to do after a restore from a backup."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from etl.catalog.notices import NOTICES
from etl.cli.help import examples

if TYPE_CHECKING:
    from etl.db.connection import Connection
    from etl.notify.restore.mark_sent import MarkedMails

_NOW = "now"


@examples("sluice notify restored")
def restored() -> None:
    """Hold all runs and all planning, since the database was just restored from a backup; deploy/restore does this."""
    from etl.db.connection import connect_warehouse
    from etl.notify.store import restores

    with connect_warehouse() as db:
        held = restores.hold(db)
    typer.echo(
        f"{_count(len(held), 'run is', 'runs are')} held, and no run is planned or sent until "
        "`sluice notify trust --since TIME`. See docs/deploy.md, Backup and restore."
    )


@examples(
    "sluice notify mark-sent --log mail.log",
    "sluice notify mark-sent --addresses told.txt --run 17",
)
def mark_sent(
    *,
    log: Annotated[
        typer.FileText | None,
        typer.Option(
            help="Log of Postfix since the backup; - for standard input.",
            encoding="utf-8",
            errors="replace",
            show_default=False,
        ),
    ] = None,
    addresses: Annotated[
        typer.FileText | None,
        typer.Option(
            help="File of mail addresses, one per line, that got the messages; - for standard input.",
            encoding="utf-8",
            show_default=False,
        ),
    ] = None,
    run: Annotated[
        list[int] | None,
        typer.Option(
            help="Held run that may have sent them; repeatable. All held runs if left out.", show_default=False
        ),
    ] = None,
) -> None:
    """Tell the ledger what was sent after the backup, so that held runs do not send it again."""
    from etl.db.connection import connect_warehouse
    from etl.notify.restore import mail_log, mark_sent

    if (log is None) == (addresses is None):
        raise typer.BadParameter("give either --log or --addresses")
    with connect_warehouse() as db:
        if log is not None:
            marked = mark_sent.mark_logged(db, mail_log.read(log), notices=NOTICES, run_ids=run or ())
        elif addresses is not None:
            told = {address for line in addresses if (address := line.strip())}
            marked = mark_sent.mark_addresses(db, told, notices=NOTICES, run_ids=run or ())
    _print_marked(marked)


@examples("sluice notify trust --since now", "sluice notify trust --since 2026-11-24T06:00")
def trust(
    since: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="`now`, or a time in UTC such as 2026-11-24T06:00. Scheduled runs that were due before are not sent.",
        ),
    ],
) -> None:
    """Say from when on the ledger knows what is sent, after a restore: runs are planned and sent again."""
    from etl.db.connection import connect_warehouse
    from etl.notify.store import restores

    instant = _parse_time(since)
    with connect_warehouse() as db:
        if not restores.confirm(db, instant):
            raise typer.BadParameter("the database was not restored, or that was confirmed before; nothing was changed")
        typer.echo(f"Trusted since {instant:%Y-%m-%d %H:%M} UTC. Scheduled runs that were due before are not sent.")
        _print_held(db)


def _print_held(db: Connection) -> None:
    from etl.notify.store import restores, runs

    held = [runs.find(db, run_id) for run_id in restores.list_held(db)]
    if held:
        typer.echo("These runs are held. Resume or cancel each:")
    for run in held:
        typer.echo(f"  sluice notify resume {run.run_id}    # {run.notice} {run.period}")


def _print_marked(marked: MarkedMails) -> None:
    typer.echo(f"{_count(marked.known, 'delivery', 'deliveries')} of the backup had been sent.")
    state = "sent" if marked.are_certain else "unknown, since several runs may have sent them"
    for run_id, lost in marked.lost.items():
        typer.echo(f"Run {run_id}: {_count(lost, 'delivery', 'deliveries')} after the backup, now {state}.")
    if marked.lost and not marked.are_certain:
        typer.echo(
            "If you know which run it was, name it with --run; else `sluice notify resolve RUN --unknown drop` gives "
            "them up."
        )


def _parse_time(text: str) -> datetime:
    if text == _NOW:
        return datetime.now(UTC)
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time; write `now` or 2026-11-24T06:00") from None
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def _count(number: int, singular: str, plural: str) -> str:
    return f"{number:,} {singular if number == 1 else plural}"
