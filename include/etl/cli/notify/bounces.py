"""`sluice notify bounces`: reads reports of failed mails and complaints."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from etl.cli.help import AsJson, examples
from etl.cli.terminal import escape_unprintable, print_json
from etl.errors import SettingMissing, TransientError

if TYPE_CHECKING:
    from etl.notify.bounces.record import ReportRecorder
    from etl.notify.bounces.sources import ReceivedMail

_STANDARD_INPUT = "-"
_TRY_AGAIN = 75
"""Exit code (EX_TEMPFAIL) after which a mail server keeps a mail and pipes it again."""

_JSON = (
    "`recorded`, an object of kinds (`hard`, `soft`, `policy`, `complaint`) and counts, `repeated`, `unmatched` and "
    "`addresses_ended`"
)


@examples(
    "sluice notify bounces --maildir /srv/bounces/Maildir",
    "sluice notify bounces --mbox old-bounces.mbox",
    "sluice notify bounces -",
    json=_JSON,
)
def bounces(
    mail: Annotated[
        str | None, typer.Argument(metavar="-", help="- reads one mail from standard input.", show_default=False)
    ] = None,
    *,
    maildir: Annotated[
        Path | None,
        typer.Option(help="Maildir; its mails are marked as seen, and flagged if not matched.", file_okay=False),
    ] = None,
    mbox: Annotated[Path | None, typer.Option(help="mbox, which is not changed.", dir_okay=False)] = None,
    limit: Annotated[int, typer.Option(help="Maximum number of mails to read.", min=1)] = 100_000,
    as_json: AsJson = False,
) -> None:
    """Read delivery reports and complaints, record them at their deliveries, and end addresses that bounced enough.

    A report that was read before changes nothing. A complaint suppresses its address and ends the category for its
    user at once. Mails that are no report, or match no delivery, are named with the reason on the error stream.
    """
    if [mail is not None, maildir is not None, mbox is not None].count(True) != 1 or mail not in (
        None,
        _STANDARD_INPUT,
    ):
        raise typer.BadParameter("give either --maildir, --mbox or -")
    try:
        _process(_open(maildir, mbox, limit=limit), as_json=as_json)
    except (TransientError, SettingMissing) as error:
        # A mail server bounces a mail for good whose pipe fails in any other way.
        if mail is None:
            raise
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(_TRY_AGAIN) from None


def _open(maildir: Path | None, mbox: Path | None, *, limit: int) -> Iterable[ReceivedMail]:
    from etl.notify.bounces import sources

    if maildir is not None:
        return islice(sources.read_maildir(maildir), limit)
    if mbox is not None:
        return islice(sources.read_mbox(mbox), limit)
    return [sources.read_pipe(sys.stdin.buffer)]


def _process(mails: Iterable[ReceivedMail], *, as_json: bool) -> None:
    from datetime import UTC, datetime

    from etl.db.connection import connect_warehouse
    from etl.notify.bounces.process import process_mails
    from etl.notify.bounces.settle import settle_bounces

    def report(name: str, reason: str) -> None:
        typer.echo(escape_unprintable(f"{name}: {reason}"), err=True)

    recorder = _build_recorder()
    with connect_warehouse() as db:
        processed = process_mails(mails, recorder, db=db, on_unmatched=report)
        ended = settle_bounces(db=db, as_of=datetime.now(UTC))
    if as_json:
        print_json(
            {
                "recorded": dict(processed.recorded),
                "repeated": processed.repeated,
                "unmatched": processed.unmatched,
                "addresses_ended": ended,
            }
        )
        return
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(processed.recorded.items()))
    typer.echo(
        f"{processed.recorded.total():,} recorded{f' ({kinds})' if kinds else ''}, {processed.repeated:,} recorded "
        f"before, {processed.unmatched:,} not matched; {ended:,} addresses ended"
    )


def _build_recorder() -> ReportRecorder:
    from etl.catalog.channels import EMAIL
    from etl.catalog.notices import NOTICES
    from etl.notify.bounces.record import ReportRecorder
    from etl.notify.bounces.return_path import ReturnPaths
    from etl.settings import ReturnPathSettings

    categories = {notice.name: notice.category for notice in NOTICES}
    return ReportRecorder(ReturnPaths(ReturnPathSettings.from_environment()), EMAIL, categories)
