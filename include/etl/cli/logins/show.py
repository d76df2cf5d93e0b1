"""`sluice logins list` and `show`: the states of logins, and what is known of one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from etl.cli.arguments import require_id, require_limit
from etl.cli.help import AsJson, examples
from etl.cli.logins.change import LoginUnknown
from etl.cli.terminal import print_json, print_line, print_table
from etl.sync.logins.store.login_state import LoginState

if TYPE_CHECKING:
    from etl.sync.logins.store.logins import Login, LoginReport

_LOGIN = (
    "`login` (its provider account id), `user_reference`, `provider`, `institution_id`, `institution_name`, `state`, "
    "`reason`, `since` and `next_try_at`"
)
_LIST_JSON = f"`logins`, a list of {_LOGIN}, and `after`, the id to continue with by --after, or null at the end"
_SHOW_JSON = (
    f"`login`, an object with {_LOGIN}; `details`; and the lists `cursors`, `loads` and `skips` (the latest), "
    "`accounts`, `quarantines` and `reconciliations` (those that wait for approval)"
)


@examples(
    "sluice logins list --state needs_login",
    "sluice logins list --user 4711 --json",
    "sluice logins list --after 100 --limit 100",
    json=_LIST_JSON,
)
def list_logins(
    *,
    state: Annotated[LoginState | None, typer.Option(help="Only in this state.")] = None,
    user: Annotated[
        str | None, typer.Option(metavar="ID", help="Only of this user, by the id in the application.")
    ] = None,
    after: Annotated[int, typer.Option(metavar="LOGIN", help="Only after this login.", callback=require_limit)] = 0,
    limit: Annotated[int, typer.Option(help="Maximum number of logins to list.", min=1, max=10_000)] = 20,
    as_json: AsJson = False,
) -> None:
    """List logins by id: their bank, state, why and since when, and the next try of those that need a login."""
    from etl.db.connection import connect_warehouse
    from etl.sync.logins.store import logins

    login_filter = logins.LoginFilter(state, user)
    with connect_warehouse() as db:
        found = logins.find_page(db, login_filter, after=after, limit=limit + 1)
    listed = found[:limit]
    next_after = listed[-1].login if len(found) > limit else None
    if as_json:
        print_json({"logins": listed, "after": next_after})
        return
    if not listed:
        typer.echo("There is no such login.")
        return
    columns = ("login", "user", "provider", "institution", "state", "reason", "since", "next try")
    print_table(columns, map(_format_row, listed), numbers=("login",))
    if next_after is not None:
        typer.echo(f"There are more; see them with --after {next_after}.")


@examples("sluice logins show 17", "sluice logins show 17 --json | jq .cursors", json=_SHOW_JSON)
def show_login(
    login: Annotated[
        int,
        typer.Argument(
            metavar="LOGIN", help="Its provider account id; `sluice logins list` shows it.", callback=require_id
        ),
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Show one login: its state, cursors, last loads, bank accounts, and what of it waits for a person."""
    from etl.db.connection import connect_warehouse
    from etl.sync.logins.store import logins

    with connect_warehouse() as db:
        report = logins.find(db, login)
    if report is None:
        raise LoginUnknown([login])
    if as_json:
        print_json(report)
        return
    for name, value in {**asdict(report.login), **asdict(report.details)}.items():
        if value not in (None, []):
            print_line(f"{name}: {_format_value(value)}")
    for title, lines in _sections(report):
        typer.echo(f"{title}:")
        for line in lines:
            print_line(f"    {line}")


def _format_row(login: Login) -> tuple[str, ...]:
    return (
        str(login.login),
        login.user_reference,
        login.provider,
        login.institution_name or login.institution_id or "",
        login.state,
        login.reason or "",
        _format_time(login.since),
        _format_time(login.next_try_at),
    )


def _sections(report: LoginReport) -> Iterator[tuple[str, Iterable[str]]]:
    """Yield the titles and lines of the lists of a login; those that say that nothing is wrong are left out."""
    yield (
        "feeds",
        [
            f"{each.feed}: moved {_format_time(each.moved_at) or 'never'}, by raw batch {each.raw_id or '(none)'}"
            f"{'; is read from its beginning next time' if each.needs_full_read else ''}"
            for each in report.cursors
        ]
        or ["none was loaded"],
    )
    yield (
        "last loads",
        [
            f"{_format_time(each.loaded_at)}  {each.entity}, raw batch {each.raw_id}, run {each.run_id}"
            for each in report.loads
        ]
        or ["none"],
    )
    yield (
        "accounts",
        [
            " ".join(filter(None, (each.account_id, each.name, each.mask, each.type, each.currency)))
            + (f", closed on {each.closed_on}" if each.closed_on else "")
            for each in report.accounts
        ]
        or ["none"],
    )
    if report.skips:
        yield (
            "left out by",
            [
                f"{_format_time(each.left_out_at)}  {each.entity}, run {each.run_id}: {each.outcome}: {each.reason}"
                for each in report.skips
            ],
        )
    if report.quarantines:
        yield (
            f"quarantined (sluice quarantine show {report.login.login})",
            [
                f"{each.entity}, since {_format_time(each.quarantined_at)}: {each.reason}"
                f"{f' (raw batch {each.raw_id})' if each.raw_id else ''}"
                for each in report.quarantines
            ],
        )
    if report.reconciliations:
        yield (
            "waits for approval (sluice resync --show)",
            [
                f"{each.entity}, raw batch {each.raw_id}: {each.absent:,} of {each.live:,} rows are absent from it"
                for each in report.reconciliations
            ],
        )


def _format_time(instant: datetime | None) -> str:
    return "" if instant is None else f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _format_value(value: object) -> str:
    if isinstance(value, datetime):
        return _format_time(value)
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
