"""`sluice notify seed`: real mails of a notice to staff, to look at before a run is sent."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from etl.cli.arguments import NoticeName, Parameters, Period, find_notice, parse_parameters, parse_period, require_id
from etl.cli.help import examples
from etl.cli.notify.review.message_files import SENDER_CONNECTIONS
from etl.cli.terminal import escape_unprintable
from etl.errors import SettingMissing
from etl.settings import Endpoint, LinkSettings

if TYPE_CHECKING:
    from etl.notify.channels.email import EmailConfig


@examples(
    "sluice notify seed monthly_report --to ann@bank.com,bob@bank.com",
    "sluice notify seed low_balance --to ann@bank.com --user 4711",
)
def seed(
    notice: NoticeName,
    *,
    to: Annotated[str, typer.Option(metavar="ADDRESSES", help="Mail addresses of staff, separated by commas.")],
    user: Annotated[
        int | None,
        typer.Option(metavar="ID", help="What this user would get; by default a sample.", callback=require_id),
    ] = None,
    sample: Annotated[
        int, typer.Option(metavar="COUNT", help="Recipients to sample, and one for each language.", min=1, max=20)
    ] = 1,
    period: Period = None,
    parameters: Parameters = None,
) -> None:
    """Mail to staff what recipients would get, as [Test]; no recipient gets anything, and nothing is recorded.

    Links to unsubscribe in such mails unsubscribe nobody.
    """
    from etl.db.connection import connect_warehouse
    from etl.notify.channels.channel import SendOutcome
    from etl.notify.channels.email import EmailSender
    from etl.notify.review.preview import build_preview, build_sample_previews
    from etl.notify.review.seed import StaffLinks, send_seed

    declared, now = find_notice(notice), datetime.now(UTC)
    chosen_period = parse_period(declared, period, as_of=now)
    links, values = StaffLinks(LinkSettings.from_environment()), parse_parameters(parameters)
    sender = EmailSender(_email_config())
    with connect_warehouse() as db:
        db.read_only = True
        with db.transaction():
            if user is None:
                previews = build_sample_previews(
                    declared, chosen_period, sample, as_of=now, db=db, parameters=values, links=links
                )
            else:
                previews = [
                    build_preview(declared, chosen_period, user, as_of=now, db=db, parameters=values, links=links)
                ]
    addresses = [address.strip() for address in to.split(",") if address.strip()]
    results = asyncio.run(send_seed(previews, addresses, sender))
    failed = [result for result in results if result.outcome is not SendOutcome.SENT]
    for result in failed:
        typer.echo(escape_unprintable(f"not sent: {result.error_class} {result.error}"), err=True)
    typer.echo(f"{len(results) - len(failed)} of {len(results)} test mails sent")
    raise typer.Exit(bool(failed))


def _email_config() -> EmailConfig:
    """Return the mail server of notices.

    Raises
    ------
    SettingMissing
        If no connection is set.
    """
    from etl.notify.channels.email import EmailConfig

    first, second = SENDER_CONNECTIONS
    try:
        server = Endpoint.from_environment(first)
    except SettingMissing:
        server = Endpoint.from_environment(second)
    return EmailConfig.from_connection(
        host=server.host, port=server.port, login=server.login, password=server.password, extra=server.extra
    )
