"""`python -m etl notify deliveries`: what a user got."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from etl.cli.arguments import NOTICE_NAMES, find_notice


def deliveries(
    user: Annotated[int, typer.Option(help="Whose: a user_id in core.users.", min=1, max=2**63 - 1)],
    *,
    notice: Annotated[str | None, typer.Option(help=f"Only of one of {NOTICE_NAMES}.")] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(help="Also what was told of this, by a notice that does not tell of its periods."),
    ] = None,
    limit: Annotated[int, typer.Option(help="Most to list.", min=1, max=10_000)] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List what a user got: when, over which channel, and what came of it."""
    from etl.db.connection import connect_warehouse
    from etl.notify.store import deliveries, recipients

    name = find_notice(notice).name if notice else None
    with connect_warehouse() as db:
        found = deliveries.list_by_user(db, user, notice=name, extra_keys=key or [], limit=limit)
        known = found or recipients.find_user(db, user)
    if not known:
        raise typer.BadParameter(f"there is no user {user} in core.users, and no delivery to one")
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found], default=datetime.isoformat))
        return
    for one in found:
        at = (one.ended_at or one.claimed_at).astimezone(UTC)
        why = f" ({one.error_class})" if one.error_class else ""
        typer.echo(
            f"{at:%Y-%m-%d %H:%M:%S} UTC  {one.notice} {one.key}  {one.channel}: {one.state}{why}, run {one.run_id}"
        )
    if not found:
        typer.echo(f"user {user} was told nothing for any period; what a notice told of else is found with --key")
