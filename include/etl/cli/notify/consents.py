"""`python -m etl notify consents` and `apply_unsubscribe`: what users said about categories of notices."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer

from etl.catalog.notices import NOTICES
from etl.cli.terminal import escape_unprintable
from etl.declare.notice import Consent


class _Answer(StrEnum):
    YES = "yes"
    NO = "no"


_Link = Annotated[str, typer.Argument(help="The link of a message, or its token.")]


def unsubscribe(link: _Link) -> None:
    """End messages of a category for whoever a link was sent to, as a click on it does."""
    from etl.db.connection import connect_warehouse
    from etl.notify.unsubscribe import apply_unsubscribe as end

    with connect_warehouse() as db:
        ended = end(link, db=db)
    found = "gets nothing more" if ended.changed else "is gone, or got nothing before,"
    typer.echo(f"user {ended.user_id} {found} of the category {ended.category}")


def consents(
    user: Annotated[str, typer.Argument(help="The user's id in the application.")],
    category: Annotated[str | None, typer.Argument(help="What they were asked about; all, if not given.")] = None,
    answer: Annotated[_Answer | None, typer.Argument(help="What they said; only shown, if not given.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Show what a user said about the categories of notices, or write down what they say now."""
    from etl.db.connection import connect_warehouse
    from etl.notify.store import consents as store

    _require_refusable_category(category)
    with connect_warehouse() as db:
        user_id = store.find_user_id(db, user)
        if category is not None and answer is not None:
            say = store.grant if answer is _Answer.YES else store.refuse
            say(db, user_id, category)
        said = [each for each in store.list_by_user(db, user_id) if category in (None, each.category)]
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in said], default=datetime.isoformat))
        return
    for each in said:
        typer.echo(
            escape_unprintable(f"{each.category}: {'yes' if each.granted else 'no'}, since {each.changed_at:%Y-%m-%d}")
        )
    if not said:
        typer.echo("They said nothing.")


def _require_refusable_category(category: str | None) -> None:
    """Refuse a word that no notice has as its category, which nobody would read."""
    known = {notice.category.name for notice in NOTICES if notice.category.consent is not Consent.NONE}
    if category is not None and category not in known:
        raise typer.BadParameter(
            f"no notice has a category {category!r} that can be refused; there are {', '.join(sorted(known))}"
        )
