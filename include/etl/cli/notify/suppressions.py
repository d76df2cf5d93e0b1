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
from etl.cli.terminal import printable
from etl.declare.channel import Medium
from etl.settings import Endpoint

if TYPE_CHECKING:
    from etl.db.connection import Warehouse

_MEDIA = {medium.name: medium for medium in (channels.EMAIL, channels.PUSH, channels.DESKTOP)}


class _Name(StrEnum):
    EMAIL = "email"
    PUSH = "push"
    DESKTOP = "desktop"


_Channel = Annotated[_Name, typer.Option("--channel", help="Whose addresses they are.")]
_Address = Annotated[str, typer.Argument(help="As a contact holds it; the case of an e-mail address does not matter.")]


def suppress(
    address: Annotated[str | None, typer.Argument(help="One address; or give --file.", show_default=False)] = None,
    channel: _Channel = _Name.EMAIL,
    reason: Annotated[str | None, typer.Option(help="Why: bounced, complained, asked, …")] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            help="CSV of many: address,reason; --reason is for lines without one.", exists=True, dir_okay=False
        ),
    ] = None,
) -> None:
    """Let an address get nothing any more, of whatever notice, and however it is written."""
    from etl.db import connection as warehouse
    from etl.notify import suppress as step

    medium = _MEDIA[channel]
    if (address is None) == (file is None):
        raise typer.BadParameter("give either an address or --file")
    with warehouse.connect(Endpoint.from_environment("warehouse")) as connection:
        if address is not None:
            added = step.suppress(medium, address, reason or "", warehouse=connection)
            typer.echo("suppressed" if added else "was suppressed before, for the reason that it keeps")
        elif file is not None:
            _suppress_file(medium, file, reason, connection)


def unsuppress(address: _Address, channel: _Channel = _Name.EMAIL) -> None:
    """Let an address get messages again."""
    from etl.db import connection as warehouse
    from etl.notify.store import suppressions

    with warehouse.connect(Endpoint.from_environment("warehouse")) as connection:
        removed = suppressions.remove(connection, _MEDIA[channel], address.strip())
    typer.echo("gets messages again" if removed else "was not suppressed")
    raise typer.Exit(not removed)


def suppressed(
    channel: Annotated[_Name | None, typer.Option(help="Only of this channel.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only for this reason.")] = None,
    address: Annotated[str | None, typer.Option(help="Only this one, however it is written.")] = None,
    limit: Annotated[int, typer.Option(help="Most addresses to list.", min=1, max=10_000)] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Show how many addresses get nothing, and the latest of them."""
    from etl.db import connection as warehouse
    from etl.notify.store import suppressions

    narrowed = suppressions.Narrowed(channel and channel.value, reason, address and address.strip())
    with warehouse.connect(Endpoint.from_environment("warehouse")) as connection:
        tallies = suppressions.tally(connection, narrowed)
        latest = suppressions.find(connection, narrowed, limit=limit)
    if as_json:
        shown = {"tallies": [asdict(tally) for tally in tallies], "latest": [asdict(each) for each in latest]}
        typer.echo(json.dumps(shown, default=datetime.isoformat))
        return
    for tally in tallies:
        typer.echo(printable(f"{tally.channel}, {tally.reason}: {tally.addresses:,}"))
    for each in latest:
        typer.echo(printable(f"    {each.since:%Y-%m-%d %H:%M}  {each.channel}  {each.reason}  {each.address}"))
    count = sum(tally.addresses for tally in tallies)
    if count > len(latest):
        typer.echo(f"The latest {len(latest):,} of {count:,}; see more with --limit.")
    elif not count:
        typer.echo("No such address is suppressed.")


def _suppress_file(medium: Medium, path: Path, reason: str | None, warehouse: Warehouse) -> None:
    from etl.notify.suppress import suppress_lines

    def tell(number: int, found: str) -> None:
        typer.echo(printable(f"line {number:,}: {found}"), err=True)

    with path.open("rb") as lines:
        read = suppress_lines(medium, lines, reason=reason, warehouse=warehouse, wrong=tell)
    typer.echo(f"{read.added:,} suppressed, {read.known:,} were before, {read.wrong:,} lines are wrong")
    raise typer.Exit(bool(read.wrong))
