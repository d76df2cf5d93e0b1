"""`sluice logins resume`, `stop`, `unlink`, `confirm` and `restore`: change the state of logins by hand."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from etl.cli.arguments import PROVIDERS, require_ids
from etl.cli.help import AsJson, examples
from etl.cli.terminal import print_json, track_progress
from etl.declare import fault
from etl.errors import PermanentError, SluiceError
from etl.settings import Endpoint, Settings
from etl.sync.logins.store.login_state import LoginState

if TYPE_CHECKING:
    from etl.db.connection import Connection
    from etl.sync.logins.store.logins import LinkedLogin

_BY_HAND = "by hand"
_JSON = "`changed`, the ids of logins that have the new state now, and `failed`, a list of `login` and `error`"

Logins = Annotated[
    list[int],
    typer.Argument(
        metavar="LOGIN", help="Provider account ids; `sluice logins list` shows them.", callback=require_ids
    ),
]
_Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Why; shown with the state.", show_default=False)]


class LoginUnknown(PermanentError):
    """There is no login with this id."""

    def __init__(self, logins: Iterable[int]) -> None:
        super().__init__(
            f"there is no login {', '.join(map(str, logins))}; nothing was changed. See `sluice logins list`."
        )


@examples("sluice logins resume 17", "sluice logins resume 17 42 4711", json=_JSON)
def resume_logins(logins: Logins, *, as_json: AsJson = False) -> None:
    """Make logins active that need a login or are suspended: the next run asks them, whatever the wait."""
    from etl.db.connection import connect_warehouse
    from etl.sync.logins.store import provider_accounts

    with connect_warehouse() as db:
        states = _find_states(db, logins)
        resumed = provider_accounts.resume(db, logins)
    remedies = {
        LoginState.UNLINKED: "`sluice link`",
        LoginState.REPLACED: "`sluice logins restore LOGIN`, or `sluice link`,",
    }
    unchanged = {
        login: f"it is {states[login]}, and only {remedies[LoginState(states[login])]} makes it active again"
        for login in _in_state(states, *remedies)
    }
    active = resumed | _in_state(states, LoginState.ACTIVE)
    _finish(dict.fromkeys(active, LoginState.ACTIVE), unchanged, as_json=as_json)


@examples(
    "sluice logins stop 17 --reason 'asked by its user'",
    "sluice logins stop --retry 17 42",
    json=_JSON,
)
def stop_logins(
    logins: Logins,
    *,
    reason: _Reason = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Let runs try again with growing waits, and resume by themselves.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Suspend logins: no run asks them until they are resumed or linked again.

    With --retry they need a login instead, as if the provider had said so.
    """
    from etl.db.connection import connect_warehouse
    from etl.sync.logins.store import provider_accounts

    with connect_warehouse() as db:
        states = _find_states(db, logins)
        if retry:
            stopped = provider_accounts.require_login(db, logins, reason=reason or _BY_HAND)
            stopped |= _in_state(states, LoginState.NEEDS_LOGIN)
        else:
            stopped = provider_accounts.suspend(db, logins, reason=reason or _BY_HAND)
    unchanged = {login: f"it is {state}, and never asked" for login, state in states.items() if login not in stopped}
    state = LoginState.NEEDS_LOGIN if retry else LoginState.SUSPENDED
    _finish(dict.fromkeys(stopped, state), unchanged, as_json=as_json)


@examples("sluice logins unlink 17 --reason 'account closed'", "sluice logins unlink 17 42 --yes", json=_JSON)
def unlink_logins(
    logins: Logins,
    *,
    reason: _Reason = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: AsJson = False,
) -> None:
    """Give the access back to the provider, and delete the access tokens; the loaded rows stay.

    This cannot be undone: only its user can link a login again. A login that the provider has no more is unlinked too,
    and one that is unlinked is not sent again.
    """
    from etl.db.connection import connect_warehouse
    from etl.sync.logins.store import logins as login_store

    with connect_warehouse() as db:
        _find_states(db, logins)
        if not yes:
            typer.confirm(f"Unlink {len(set(logins)):,} logins for good?", abort=True, err=True)
        found = {each.provider_account_id: each for each in login_store.find_to_unlink(db, logins)}
        failed = _unlink(found, reason=reason or _BY_HAND, db=db)
    _finish(dict.fromkeys(found.keys() - failed.keys(), LoginState.UNLINKED), failed, as_json=as_json)


@examples("sluice logins confirm 17", json=_JSON)
def confirm_logins(logins: Logins, *, as_json: AsJson = False) -> None:
    """Say that these logins, which were linked again, have the same accounts as the later ones.

    Use it if a warning in the log of a load names this command: the later login lacks many of their transactions. The
    next run that loads transactions of the later login ends these.
    """
    from etl.db.connection import connect_warehouse
    from etl.sync.logins.store import replaced_accounts

    with connect_warehouse() as db:
        states = _find_states(db, logins)
        confirmed = [login for login in states if replaced_accounts.confirm(db, login)]
    failed = {
        login: f"it is {state}, and was not replaced" for login, state in states.items() if login not in confirmed
    }
    _finish(
        dict.fromkeys(confirmed, "confirmed; the next run ends what the later login lacks"), failed, as_json=as_json
    )


@examples("sluice logins restore 17", json=_JSON)
def restore_logins(logins: Logins, *, as_json: AsJson = False) -> None:
    """Undo that later logins of the same user and bank replaced these, or some of their accounts.

    They are synced again, and all their money counts. Use it if the accounts are not the same after all. It is not
    decided again by itself. The rows of a login that was unlinked count again, too, but only its user can have it
    synced, by linking it again.
    """
    with fault.explained():
        from etl.catalog.entities import ENTITIES
    from etl.db.connection import connect_warehouse
    from etl.sync.logins import relink

    with connect_warehouse() as db:
        states = _find_states(db, logins)
        restored = {
            login: state for login in states if (state := relink.restore_login(login, entities=ENTITIES, db=db))
        }
    failed = {login: f"it is {state}, and was not replaced" for login, state in states.items() if login not in restored}
    _finish(restored, failed, as_json=as_json)


def _unlink(found: Mapping[int, LinkedLogin], *, reason: str, db: Connection) -> dict[int, str]:
    """Unlink logins, and return the errors of those that were not; one that fails does not stop the others."""
    from etl.clients import rate_limits
    from etl.sync.logins.link import unlink_login
    from etl.sync.logins.store.token_cipher import TokenCipher

    cipher = TokenCipher(Settings.from_environment().keys)
    limiter = rate_limits.connect(Endpoint.from_environment("limits"))
    errors: dict[int, str] = {}
    for login in track_progress(list(found), "logins"):
        provider = PROVIDERS.get(found[login].provider)
        if provider is None:
            errors[login] = f"its provider {found[login].provider!r} is not declared"
            continue
        endpoint = Endpoint.from_environment(provider.connection)
        try:
            unlink_login(
                provider, found[login], reason=reason, db=db, cipher=cipher, endpoint=endpoint, limiter=limiter
            )
        except SluiceError as error:
            errors[login] = str(error)
    return errors


def _find_states(db: Connection, logins: Collection[int]) -> dict[int, str]:
    """Return the states of logins before they are changed.

    Raises
    ------
    LoginUnknown
        If one does not exist.
    """
    from etl.sync.logins.store import logins as login_store

    states = login_store.find_states(db, logins)
    if unknown := sorted(set(logins) - states.keys()):
        raise LoginUnknown(unknown)
    return states


def _in_state(states: Mapping[int, str], *names: str) -> set[int]:
    return {login for login, state in states.items() if state in names}


def _finish(changed: Mapping[int, str], failed: Mapping[int, str], *, as_json: bool) -> None:
    """Print what has become of logins, and why others did not change; exit with code 1 if there are such."""
    if as_json:
        errors = [{"login": login, "error": error} for login, error in sorted(failed.items())]
        print_json({"changed": sorted(changed), "failed": errors})
    else:
        for login, state in sorted(changed.items()):
            typer.echo(f"Login {login}: {state}.")
        for login, error in sorted(failed.items()):
            sentence = error if error.startswith(f"login {login}") else f"login {login}: {error}"
            typer.echo(f"L{sentence[1:].removesuffix('.')}.", err=True)
    raise typer.Exit(bool(failed))
