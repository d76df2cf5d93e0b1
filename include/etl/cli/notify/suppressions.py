"""`sluice notify suppress`, `unsuppress` and `suppressed`: addresses that get no messages of any notice."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from etl.cli.help import AsJson, examples
from etl.cli.terminal import escape_unprintable, print_json, print_line
from etl.declare import fault
from etl.declare.channel import Channel

if TYPE_CHECKING:
    from etl.db.connection import Connection


class _ChannelName(StrEnum):
    EMAIL = "email"
    PUSH = "push"
    DESKTOP = "desktop"


_ChannelOption = Annotated[_ChannelName, typer.Option("--channel", help="Channel of the address.")]
_Address = Annotated[
    str,
    typer.Argument(metavar="ADDRESS", help="As in the contact; the case of an e-mail address does not matter."),
]
_JSON = (
    "`tallies`, a list of `channel`, `reason` and `addresses` (how many), and `latest`, a list of `address`, "
    "`channel`, `reason` and `since`"
)


@examples(
    "sluice notify suppress joe@example.org --reason complained",
    "sluice notify suppress --file bounces.csv --reason bounced",
)
def suppress(
    address: Annotated[
        str | None, typer.Argument(metavar="ADDRESS", help="One address; or use --file.", show_default=False)
    ] = None,
    *,
    channel: _ChannelOption = _ChannelName.EMAIL,
    reason: Annotated[str | None, typer.Option(help="Why: bounced, complained, asked, …")] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            help="CSV file of address,reason; --reason is for lines without one.", exists=True, dir_okay=False
        ),
    ] = None,
) -> None:
    """Suppress an address, or a file of them: it gets no more messages of any notice."""
    from etl.db.connection import connect_warehouse
    from etl.notify.suppress import suppress_address

    if (address is None) == (file is None):
        raise typer.BadParameter("give either an address or --file")
    with connect_warehouse() as db:
        if address is not None:
            is_new = suppress_address(_declared(channel), address, reason or "", db=db)
            typer.echo("suppressed" if is_new else "was suppressed before, and keeps its reason")
        elif file is not None:
            _suppress_file(_declared(channel), file, reason, db)


@examples("sluice notify unsuppress joe@example.org")
def unsuppress(address: _Address, *, channel: _ChannelOption = _ChannelName.EMAIL) -> None:
    """Let an address get messages again."""
    from etl.db.connection import connect_warehouse
    from etl.notify.store import suppressions

    with connect_warehouse() as db:
        was_suppressed = suppressions.remove(db, _declared(channel), address.strip())
    typer.echo("gets messages again" if was_suppressed else "was not suppressed")
    raise typer.Exit(not was_suppressed)


@examples(
    "sluice notify suppressed --reason bounced",
    "sluice notify suppressed --address joe@example.org --json",
    json=_JSON,
)
def suppressed(
    *,
    channel: Annotated[_ChannelName | None, typer.Option(help="Only of this channel.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only with this reason.")] = None,
    address: Annotated[str | None, typer.Option(help="Only this address.")] = None,
    limit: Annotated[int, typer.Option(help="Maximum number of addresses to list.", min=1, max=10_000)] = 20,
    as_json: AsJson = False,
) -> None:
    """Show how many addresses are suppressed, by channel and reason, and the latest of them."""
    from etl.db.connection import connect_warehouse
    from etl.notify.store import suppressions

    criteria = suppressions.SuppressionFilter(channel and channel.value, reason, address and address.strip())
    with connect_warehouse() as db:
        tallies = suppressions.count_by_reason(db, criteria)
        latest = suppressions.find(db, criteria, limit=limit)
    if as_json:
        print_json({"tallies": tallies, "latest": latest})
        return
    for tally in tallies:
        print_line(f"{tally.channel}, {tally.reason}: {tally.addresses:,}")
    for each in latest:
        print_line(f"    {each.since:%Y-%m-%d %H:%M}  {each.channel}  {each.reason}  {each.address}")
    count = sum(tally.addresses for tally in tallies)
    if count > len(latest):
        typer.echo(f"The latest {len(latest):,} of {count:,}; see more with --limit.")
    elif not count:
        typer.echo("No such address is suppressed.")


def _suppress_file(channel: Channel, path: Path, reason: str | None, db: Connection) -> None:
    """Suppress the addresses of a file; exit with code 1 if lines are invalid."""
    from etl.notify.suppress import suppress_from_csv

    def report(number: int, detail: str) -> None:
        typer.echo(escape_unprintable(f"line {number:,}: {detail}"), err=True)

    with path.open("rb") as file:
        result = suppress_from_csv(channel, file, default_reason=reason, db=db, on_invalid=report)
    typer.echo(f"{result.added:,} suppressed, {result.existing:,} suppressed before, {result.invalid:,} invalid lines")
    raise typer.Exit(bool(result.invalid))


def _declared(name: _ChannelName) -> Channel:
    """Return the declared channel.

    Raises
    ------
    DeclarationError
        If the channels cannot be read.
    """
    with fault.explained():
        from etl.catalog import channels

    declared: Channel = getattr(channels, name.name)
    return declared
