"""`python -m etl notify suppress`, `unsuppress` and `suppressed`: addresses that get nothing of any notice."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from etl.catalog import channels
from etl.cli.terminal import escape_unprintable
from etl.declare.channel import Channel

if TYPE_CHECKING:
    from etl.db.connection import Connection

_CHANNELS = {medium.name: medium for medium in (channels.EMAIL, channels.PUSH, channels.DESKTOP)}


class _ChannelName(StrEnum):
    EMAIL = "email"
    PUSH = "push"
    DESKTOP = "desktop"


_ChannelOption = Annotated[_ChannelName, typer.Option("--channel", help="Whose addresses they are.")]
_Address = Annotated[str, typer.Argument(help="As a contact holds it; the case of an e-mail address does not matter.")]


def suppress(
    address: Annotated[str | None, typer.Argument(help="One address; or give --file.", show_default=False)] = None,
    channel: _ChannelOption = _ChannelName.EMAIL,
    reason: Annotated[str | None, typer.Option(help="Why: bounced, complained, asked, …")] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            help="CSV of many: address,reason; --reason is for lines without one.", exists=True, dir_okay=False
        ),
    ] = None,
) -> None:
    """Let an address get nothing any more, of whatever notice, and however it is written."""
    from etl.db.connection import connect_warehouse
    from etl.notify import suppress as step

    medium = _CHANNELS[channel]
    if (address is None) == (file is None):
        raise typer.BadParameter("give either an address or --file")
    with connect_warehouse() as db:
        if address is not None:
            added = step.suppress_address(medium, address, reason or "", db=db)
            typer.echo("suppressed" if added else "was suppressed before, for the reason that it keeps")
        elif file is not None:
            _suppress_file(medium, file, reason, db)


def unsuppress(address: _Address, channel: _ChannelOption = _ChannelName.EMAIL) -> None:
    """Let an address get messages again."""
    from etl.db.connection import connect_warehouse
    from etl.notify.store import suppressions

    with connect_warehouse() as db:
        removed = suppressions.remove(db, _CHANNELS[channel], address.strip())
    typer.echo("gets messages again" if removed else "was not suppressed")
    raise typer.Exit(not removed)


def suppressed(
    channel: Annotated[_ChannelName | None, typer.Option(help="Only of this channel.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only for this reason.")] = None,
    address: Annotated[str | None, typer.Option(help="Only this one, however it is written.")] = None,
    limit: Annotated[int, typer.Option(help="Most addresses to list.", min=1, max=10_000)] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Show how many addresses get nothing, and the latest of them."""
    from etl.db.connection import connect_warehouse
    from etl.notify.store import suppressions

    narrowed = suppressions.SuppressionFilter(channel and channel.value, reason, address and address.strip())
    with connect_warehouse() as db:
        tallies = suppressions.count_by_reason(db, narrowed)
        latest = suppressions.find(db, narrowed, limit=limit)
    if as_json:
        shown = {"tallies": [asdict(tally) for tally in tallies], "latest": [asdict(each) for each in latest]}
        typer.echo(json.dumps(shown, default=datetime.isoformat))
        return
    for tally in tallies:
        typer.echo(escape_unprintable(f"{tally.channel}, {tally.reason}: {tally.addresses:,}"))
    for each in latest:
        typer.echo(
            escape_unprintable(f"    {each.since:%Y-%m-%d %H:%M}  {each.channel}  {each.reason}  {each.address}")
        )
    count = sum(tally.addresses for tally in tallies)
    if count > len(latest):
        typer.echo(f"The latest {len(latest):,} of {count:,}; see more with --limit.")
    elif not count:
        typer.echo("No such address is suppressed.")


def _suppress_file(channel: Channel, path: Path, reason: str | None, db: Connection) -> None:
    from etl.notify.suppress import suppress_from_csv

    def tell(number: int, found: str) -> None:
        typer.echo(escape_unprintable(f"line {number:,}: {found}"), err=True)

    with path.open("rb") as lines:
        read = suppress_from_csv(channel, lines, default_reason=reason, db=db, on_invalid=tell)
    typer.echo(f"{read.added:,} suppressed, {read.existing:,} were before, {read.invalid:,} lines are wrong")
    raise typer.Exit(bool(read.invalid))
