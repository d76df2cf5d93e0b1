"""`sluice notify consents` and `unsubscribe`: what users accept or refuse, by category of notices."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from etl.catalog.notices import NOTICES
from etl.cli.help import AsJson, examples
from etl.cli.terminal import print_json, print_line
from etl.declare.notice import Consent

_REFUSABLE_CATEGORIES = sorted(
    {notice.category.name for notice in NOTICES if notice.category.consent is not Consent.NONE}
)


class _Answer(StrEnum):
    YES = "yes"
    NO = "no"


def complete_category() -> list[str]:
    """Return the categories that a user may refuse, for the completion of a shell."""
    return _REFUSABLE_CATEGORIES


@examples("sluice notify unsubscribe 'https://bank.example/unsubscribe?token=…'")
def unsubscribe(
    link: Annotated[str, typer.Argument(metavar="LINK", help="The link of a message, or its token.")],
) -> None:
    """Unsubscribe the user to whom a link was sent from its category, as a click on the link does."""
    from etl.db.connection import connect_warehouse
    from etl.notify.unsubscribe import apply_unsubscribe

    with connect_warehouse() as db:
        result = apply_unsubscribe(link, db=db)
    if result.changed:
        typer.echo(f"user {result.user_id} gets no more messages of the category {result.category}")
    else:
        typer.echo(f"user {result.user_id} unsubscribed from the category {result.category} before, or does not exist")


@examples(
    "sluice notify consents 4711",
    "sluice notify consents 4711 reports no",
    json="a list of `category`, `granted` (true or false) and `changed_at`",
)
def consents(
    user: Annotated[str, typer.Argument(metavar="USER", help="The user's id in the application.")],
    category: Annotated[
        str | None,
        typer.Argument(
            metavar="CATEGORY",
            help="Category of notices; by default all are shown.",
            autocompletion=complete_category,
        ),
    ] = None,
    answer: Annotated[
        _Answer | None, typer.Argument(metavar="ANSWER", help="Record this answer; by default only show.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show which categories of notices a user accepted or refused, or record an answer."""
    from etl.db.connection import connect_warehouse
    from etl.notify.store import consents as consent_store

    _require_refusable_category(category)
    with connect_warehouse() as db:
        user_id = consent_store.find_user_id(db, user)
        if category is not None and answer is not None:
            record = consent_store.grant if answer is _Answer.YES else consent_store.refuse
            record(db, user_id, category)
        records = [each for each in consent_store.list_by_user(db, user_id) if category in (None, each.category)]
    if as_json:
        print_json(records)
        return
    for each in records:
        print_line(f"{each.category}: {'yes' if each.granted else 'no'}, since {each.changed_at:%Y-%m-%d}")
    if not records:
        typer.echo("No answer is recorded.")


def _require_refusable_category(category: str | None) -> None:
    """Refuse a category that no notice has, since nothing would ever read the answer.

    Raises
    ------
    typer.BadParameter
        If no notice has the category, or its users cannot refuse it.
    """
    if category is not None and category not in _REFUSABLE_CATEGORIES:
        raise typer.BadParameter(
            f"no notice has a category {category!r} that can be refused; there are {', '.join(_REFUSABLE_CATEGORIES)}"
        )
