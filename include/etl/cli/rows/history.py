"""`sluice history`: every version of a transaction or an account."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import typer

from etl.cli.arguments import find_entity, require_id
from etl.cli.help import AsJson, add_command, examples, format_epilog
from etl.cli.terminal import print_json, print_line, truncate

if TYPE_CHECKING:
    from etl.sync.history.corrections import Correction
    from etl.sync.history.versions import RowHistory, Version

_Login = Annotated[
    int | None,
    typer.Option(metavar="LOGIN", help="Only of this login; otherwise each is looked up.", callback=require_id),
]
_VERSIONS = (
    "`versions`, a list from the oldest to the current one of `observed_at` and `superseded_at` (from when, and until "
    "just before when, it was what was known; null for the current one), `raw_id` (its raw batch), `ended` (why the "
    "row is no longer live, or null), `changes` (by column, an object of `before` and `after`; empty for the first "
    "version) and `values` (by column)"
)
_CORRECTION = (
    "`correction`, null or an object of `category`, `merchant_name`, `note`, `is_ignored` (each null unless "
    "corrected), `carried_from`, `corrected_at` and `corrected_by`"
)
_LOGINS = "`logins`, a list with an object for each login that has the id: `provider_account_id`"
_TRANSACTION_JSON = f"{_LOGINS}, {_VERSIONS}; and {_CORRECTION}"
_ACCOUNT_JSON = f"{_LOGINS} and {_VERSIONS}"


@examples(
    "sluice history transaction lPNjeW1nR6CDn5okmGQ6 --login 17",
    "sluice history transaction lPNjeW1nR6CDn5okmGQ6 --json",
    json=_TRANSACTION_JSON,
)
def show_transaction(
    transaction: Annotated[str, typer.Argument(metavar="ID", help="The provider's id of the transaction.")],
    *,
    login: _Login = None,
    as_json: AsJson = False,
) -> None:
    """Show every version of a transaction: what changed, when, and in which raw batch.

    It also shows what a user corrected. If several logins have the id, each is shown.
    """
    from etl.db.connection import connect_warehouse
    from etl.sync.history import corrections, versions

    with connect_warehouse() as db:
        histories = versions.find(db, find_entity("transactions"), transaction, provider_account_id=login)
        corrected = {
            each.provider_account_id: corrections.find(db, each.provider_account_id, transaction) for each in histories
        }
    if as_json:
        documents = [
            {
                "provider_account_id": each.provider_account_id,
                "versions": each.versions,
                "correction": corrected[each.provider_account_id],
            }
            for each in histories
        ]
        print_json({"logins": documents})
        return
    for each in _announce(histories):
        _print_history(each)
        if correction := corrected[each.provider_account_id]:
            print_line(_describe_correction(correction))


@examples("sluice history account BxBXxLj1m4HMXBm9WZZm --login 17", json=_ACCOUNT_JSON)
def show_account(
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help="The provider's id of the account.")],
    *,
    login: _Login = None,
    as_json: AsJson = False,
) -> None:
    """Show every version of a bank account: its balances, when they were observed, and when it was closed.

    If several logins have the id, each is shown.
    """
    from etl.db.connection import connect_warehouse
    from etl.sync.history import versions

    with connect_warehouse() as db:
        histories = versions.find(db, find_entity("accounts"), account, provider_account_id=login)
    if as_json:
        print_json({"logins": histories})
        return
    for each in _announce(histories):
        _print_history(each)


def _announce(histories: list[RowHistory]) -> list[RowHistory]:
    """Say so if several logins have the id, and return the histories."""
    if len(histories) > 1:
        logins = ", ".join(str(each.provider_account_id) for each in histories)
        typer.echo(f"{len(histories):,} logins have this id: {logins}.")
    return histories


def _print_history(history: RowHistory) -> None:
    count = len(history.versions)
    typer.echo(f"Login {history.provider_account_id}: {count:,} {'version' if count == 1 else 'versions'}")
    for version in history.versions:
        print_line(f"  {_format_instant(version.observed_at)}, raw batch {version.raw_id}{_describe_end(version)}")
        if version.changes:
            for name, change in version.changes.items():
                print_line(f"      {name}: {_format(change.before)} → {_format(change.after)}")
        else:
            known = {name: value for name, value in version.values.items() if value is not None}
            for name, value in known.items():
                print_line(f"      {name}: {_format(value)}")


def _describe_end(version: Version) -> str:
    return f": {version.ended}" if version.ended else ""


def _describe_correction(correction: Correction) -> str:
    fields = ", ".join(f"{name} = {_format(value)}" for name, value in correction.fields.items())
    origin = f", carried from {', '.join(correction.carried_from)}" if correction.carried_from else ""
    when = _format_instant(correction.corrected_at)
    return f"  corrected at {when} by {correction.corrected_by}{origin}: {fields or 'nothing any more'}"


def _format(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return _format_instant(value) if isinstance(value, datetime) else truncate(str(value))


def _format_instant(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


app = typer.Typer(
    help="Show every version of a transaction or an account.",
    no_args_is_help=True,
    epilog=format_epilog("sluice history transaction ID", "sluice history account ACCOUNT --login 17"),
)
add_command(app, show_transaction, name="transaction", panel="History")
add_command(app, show_account, name="account", panel="History")
