"""`sluice link`: enrol users' logins at banks."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from etl.catalog.entities import ENTITIES, FAULTS
from etl.cli.arguments import find_provider, raise_fault
from etl.cli.help import examples
from etl.cli.terminal import track_progress
from etl.declare.entity import Entity, RawOf
from etl.declare.provider import AccessUrlClaim, Placeholder, Provider
from etl.declare.source import Feed
from etl.errors import PermanentError, SluiceError
from etl.settings import Endpoint, Settings

if TYPE_CHECKING:
    from etl.db.connection import Connection
    from etl.sync.logins.link import Linking
    from etl.sync.provider.enrolment import GrantedItem

_MAX_HISTORY_DAYS = 36_600
_SHOWN_FAILURES = 10
"""Logins that could not be linked and are named."""

_ACCOUNTS = "accounts"
"""The entity that lists the accounts of logins."""
_COLUMNS = ("user", "access_token", "item_id")
_FORM = f"a CSV file with the columns {', '.join(_COLUMNS)}, of which item_id may be absent"


class LoginsFileInvalid(PermanentError):
    """A file of logins cannot be read."""

    def __init__(self, path: Path, detail: str) -> None:
        super().__init__(f"{path}: {detail}; no login was linked. Write {_FORM}.")


class LinkFailed(PermanentError):
    """Some logins of a file could not be linked."""


class _Login(NamedTuple):
    """A login whose access is granted already."""

    user: str
    access_token: str
    item_id: str


@examples(
    "sluice link --provider plaid --public-token public-… --user 4711",
    "sluice link --provider mybank --access-token … --item-id 0815 --user 4711",
    "sluice link --provider mybank --file logins.csv",
)
def link(
    *,
    public_token: Annotated[
        str,
        typer.Option(help="What the user's consent gave the application: a public token, requisition or setup token."),
    ] = "",
    user: Annotated[str, typer.Option(help="The user's id in the application.")] = "",
    provider: Annotated[str, typer.Option(help="The provider; needed if the catalogue has more than one.")] = "",
    access_token: Annotated[str, typer.Option(help="The access token, where the application has it already.")] = "",
    item_id: Annotated[
        str,
        typer.Option(
            help="The provider's id of the login, with --access-token; with a setup token, that of the login that is "
            "linked again, as `sluice logins show 17` prints it."
        ),
    ] = "",
    file: Annotated[Path | None, typer.Option(help=f"Many logins: {_FORM}.", dir_okay=False)] = None,
    history_days: Annotated[
        int | None,
        typer.Option(
            help="Days of history that the application requested from the provider; by default those that "
            "the provider declares.",
            min=1,
            max=_MAX_HISTORY_DAYS,
        ),
    ] = None,
) -> None:
    """Enrol a user's login at a bank, and print its provider account id; the access token is stored encrypted.

    A login that needs a login, or was suspended, unlinked or replaced, becomes active again. Earlier logins of the
    user at the same bank are replaced if they have accounts in common with it, so that their money counts once;
    `sluice logins restore` undoes it.
    """
    from etl.db.connection import connect_warehouse
    from etl.sync.logins.link import enrol_logins

    _require_one(public_token, access_token, file)
    if file is None and not user:
        raise typer.BadParameter("name the user of the login", param_hint="--user")
    declared = find_provider(provider)
    if public_token and item_id and not isinstance(declared.enrolment, AccessUrlClaim):
        raise typer.BadParameter(f"{declared.name} names the login itself; leave it out", param_hint="--item-id")
    logins = _read_file(file) if file else [_Login(user, access_token, item_id)] if access_token else []
    _require_item_ids(declared, logins)
    with connect_warehouse() as db:
        if public_token:
            linked = enrol_logins(_linking(declared, user, history_days, db=db), public_token, item_id=item_id)
            _finish(db, linked, history_days)
        else:
            _link_all(declared, logins, history_days, db=db)


def _link_all(provider: Provider, logins: list[_Login], history_days: int | None, *, db: Connection) -> None:
    """Link logins; one that cannot be linked does not stop the others."""
    from etl.sync.logins.link import enrol_items

    failures: list[str] = []
    for index in track_progress(range(len(logins)), "logins"):
        login = logins[index]
        try:
            linked = enrol_items(_linking(provider, login.user, history_days, db=db), [_item_of(login)])
        except SluiceError as error:
            failures.append(f"user {login.user}: {error}")
        else:
            _finish(db, linked, history_days)
    if failures:
        shown, others = failures[:_SHOWN_FAILURES], failures[_SHOWN_FAILURES:]
        more = [f"… and {len(others):,} more"] if others else []
        raise LinkFailed(f"{len(failures):,} of {len(logins):,} logins were not linked:\n" + "\n".join([*shown, *more]))


def read_items(path: Path) -> list[GrantedItem]:
    """Return the logins of a file, as `link` links them; raise as `_read_file` does."""
    return [_item_of(login) for login in _read_file(path)]


def _item_of(login: _Login) -> GrantedItem:
    """Return a login; one without an id is known by a digest of its token."""
    from etl.sync.provider.enrolment import GrantedItem

    return GrantedItem(login.item_id or hashlib.sha256(login.access_token.encode()).hexdigest(), login.access_token)


def _linking(provider: Provider, user: str, history_days: int | None, *, db: Connection) -> Linking:
    from etl.clients import rate_limits
    from etl.sync.logins.link import Linking
    from etl.sync.logins.store.token_cipher import TokenCipher

    accounts = next((entity for entity in _entities_of(provider) if entity.name == _ACCOUNTS), None)
    if accounts is None:
        for fault in (each for each in FAULTS if each.name == _ACCOUNTS):
            # Without its accounts, the login would replace no earlier one.
            raise_fault(fault)
    return Linking(
        provider,
        user,
        db,
        TokenCipher(Settings.from_environment().keys),
        Endpoint.from_environment(provider.connection),
        rate_limits.connect(Endpoint.from_environment("limits")),
        timedelta(days=history_days) if history_days else _promised_history(provider),
        accounts,
    )


def _finish(db: Connection, linked: Iterable[int], history_days: int | None) -> None:
    """Print the logins that were linked, and those that they replace."""
    from etl.sync.logins.store import provider_accounts, replaced_accounts

    for provider_account_id in linked:
        if history_days:
            provider_accounts.set_history_days(db, provider_account_id, history_days)
        typer.echo(f"provider account {provider_account_id}")
        if earlier := replaced_accounts.replaced_by(db, provider_account_id):
            logins = " ".join(map(str, earlier))
            typer.echo(f"It replaces login {logins} of the same accounts; `sluice logins restore {logins}` undoes it.")


def _require_one(public_token: str, access_token: str, file: Path | None) -> None:
    if sum(map(bool, (public_token, access_token, file))) != 1:
        raise typer.BadParameter("give exactly one of --public-token, --access-token and --file")


def _require_item_ids(provider: Provider, logins: Iterable[_Login]) -> None:
    """Refuse logins without an id where a request of the provider needs one."""
    needing = [
        source.name
        for entity in _entities_of(provider)
        if not isinstance(entity.source, RawOf)
        for source in filter(None, (entity.source, entity.window))
        if Placeholder.ITEM_ID in source.placeholders
    ]
    if needing and not all(login.item_id for login in logins):
        raise typer.BadParameter(
            f"{needing[0]} of {provider.name} requests each login by its id; give it with --item-id, or in the file"
        )


def _entities_of(provider: Provider) -> Iterator[Entity]:
    return (entity for entity in ENTITIES if entity.provider.name == provider.name)


def _promised_history(provider: Provider) -> timedelta | None:
    """Return the shortest history that a feed of the provider promises; None if none promises any."""
    feeds = [entity.source for entity in _entities_of(provider)]
    return min((feed.history for feed in feeds if isinstance(feed, Feed) and feed.history), default=None)


def _read_file(path: Path) -> list[_Login]:
    """Return the logins of a file.

    Raises
    ------
    LoginsFileInvalid
        If it lacks a column, or a line lacks a value.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            if missing := set(_COLUMNS[:2]) - set(reader.fieldnames or ()):
                raise LoginsFileInvalid(path, f"it has no column {min(missing)}")
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LoginsFileInvalid(path, f"it cannot be read: {type(error).__name__}") from None
    logins: list[_Login] = []
    for line, row in rows:
        login = _Login(*((row.get(name) or "").strip() for name in _COLUMNS))
        if not login.user or not login.access_token:
            raise LoginsFileInvalid(path, f"line {line} has no user or no access_token")
        logins.append(login)
    if not logins:
        raise LoginsFileInvalid(path, "it has no login")
    return logins
