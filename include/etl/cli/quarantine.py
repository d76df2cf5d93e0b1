"""`sluice quarantine`: list, show and accept logins that are not loaded.

Too many of their records are bad, or their pages killed the process that read them.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from etl.catalog.entities import ENTITIES
from etl.cli.arguments import ENTITY_NAMES, complete_entity, find_entity, require_id, require_ids
from etl.cli.help import AsJson, add_command, examples, format_epilog
from etl.cli.replay import format_counts
from etl.cli.terminal import print_json, print_line, print_table
from etl.declare.entity import Entity
from etl.errors import PermanentError, SluiceError
from etl.settings import Settings

if TYPE_CHECKING:
    from etl.sync.store.quarantines import Quarantine

_EntityName = Annotated[
    str | None,
    typer.Option("--entity", metavar="ENTITY", help=f"Only of one of {ENTITY_NAMES}.", autocompletion=complete_entity),
]
_Login = Annotated[
    int,
    typer.Argument(
        metavar="LOGIN", help="Its provider account id; `sluice quarantine list` shows it.", callback=require_id
    ),
]
_QUARANTINE = (
    "`provider_account_id`, `entity`, `source` (a window of past days, or what the entity is read from), `raw_id` (the "
    "latest batch that was not loaded, or null if the download died), `read` and `rejected` (its records), `path` and "
    "`rule` (of most rejects; the rule `killed`, if its pages killed the process), `reason` (in words), "
    "`quarantined_at`, `last_failed_at` and `failures` (in a row)"
)
_ACCEPT_JSON = (
    "`accepted`, a list of `provider_account_id`, `entity` and the number of records `read`, `inserted`, `updated`, "
    "`unchanged`, `removed`, `superseded`, `stale`, `rejected` and `quarantined`; `not_quarantined`, a list of ids; "
    "and `failed`, a list of `provider_account_id`, `entity` and `error`"
)


class NotQuarantined(PermanentError):
    """A login is not quarantined."""

    def __init__(self, provider_account_id: int) -> None:
        super().__init__(f"provider account {provider_account_id} is not quarantined; see `sluice quarantine list`.")


@examples("sluice quarantine list", "sluice quarantine list --entity transactions", json=f"a list of {_QUARANTINE}")
def list_quarantines(
    *,
    entity: _EntityName = None,
    limit: Annotated[int, typer.Option(metavar="N", help="Maximum number to list.", callback=require_id)] = 100,
    as_json: AsJson = False,
) -> None:
    """Show the quarantined logins, those that failed last first."""
    from etl.db.connection import connect_warehouse
    from etl.sync.store import quarantines

    with connect_warehouse() as db:
        found = quarantines.latest(db, entities=[each.name for each in _entities(entity)], limit=limit)
    if as_json:
        print_json(found)
        return
    if not found:
        typer.echo("No login is quarantined.")
        return
    numbers = ("account", "batch", "failures")
    print_table(
        ("account", "entity", "batch", "reason", "since", "failures"),
        [
            (
                str(each.provider_account_id),
                each.entity,
                str(each.raw_id or ""),
                each.reason,
                f"{each.quarantined_at:%Y-%m-%d %H:%M}",
                each.failures,
            )
            for each in found
        ],
        numbers=numbers,
    )


@examples("sluice quarantine show 17", json=f"a list of {_QUARANTINE}")
def show_quarantine(account: _Login, *, entity: _EntityName = None, as_json: AsJson = False) -> None:
    """Show why a login is quarantined, and what can be done."""
    from etl.db.connection import connect_warehouse
    from etl.sync.store import quarantines

    entities = _entities(entity)
    with connect_warehouse() as db:
        found = [
            quarantine
            for each in entities
            if (quarantine := quarantines.find(db, entity=each.name, provider_account_id=account))
        ]
    if as_json:
        print_json(found)
    for quarantine in found if not as_json else ():
        _print_quarantine(quarantine)
    if not found:
        raise NotQuarantined(account)


@examples("sluice quarantine accept 17", "sluice quarantine accept 17 42 --entity transactions", json=_ACCEPT_JSON)
def accept(
    accounts: Annotated[
        list[int],
        typer.Argument(
            metavar="LOGIN", help="Provider account ids, as `sluice quarantine list` shows.", callback=require_ids
        ),
    ],
    *,
    entity: _EntityName = None,
    as_json: AsJson = False,
) -> None:
    """Load the valid records of quarantined logins at once, and leave the bad ones as rejects.

    The cursors of the logins move, so that the next run continues from there. If the declaration is wrong, fix it
    and use `sluice rejects retry` instead: it loads all records. A login whose pages killed the process has no valid
    records, and is refused.
    """
    from upath import UPath

    from etl.db.connection import connect_warehouse
    from etl.sync import load

    root = UPath(Settings.from_environment().raw_root)
    entities = _entities(entity)
    accepted: list[dict[str, object]] = []
    failed: list[dict[str, object]] = []
    not_quarantined: list[int] = []
    with connect_warehouse() as db:
        for account in dict.fromkeys(accounts):
            outcomes = len(accepted) + len(failed)
            for each in entities:
                login: dict[str, object] = {"provider_account_id": account, "entity": each.name}
                try:
                    counts = load.accept(each, account, db=db, root=root)
                except SluiceError as error:
                    failed.append({**login, "error": str(error)})
                    typer.echo(f"error: {error}", err=True)
                    continue
                if counts is not None:
                    accepted.append({**login, **asdict(counts)})
                    if not as_json:
                        typer.echo(f"{each.name}, provider account {account}: {format_counts(asdict(counts))}")
            if outcomes == len(accepted) + len(failed):
                not_quarantined.append(account)
                typer.echo(f"provider account {account} is not quarantined", err=True)
    if as_json:
        print_json({"accepted": accepted, "not_quarantined": not_quarantined, "failed": failed})
    raise typer.Exit(bool(failed))


def _entities(name: str | None) -> list[Entity]:
    return [find_entity(name)] if name else list(ENTITIES)


def _print_quarantine(quarantine: Quarantine) -> None:
    for name, value in asdict(quarantine).items():
        print_line(f"{name}: {value}")
    if not quarantine.is_killed:
        print_line(f"The rejects: `sluice rejects list --entity {quarantine.entity} --batch {quarantine.raw_id}`")
    print_line(f"What to do: {quarantine.remedy}")


app = typer.Typer(
    help="List, show and accept logins that are not loaded, since their records are bad.",
    no_args_is_help=True,
    epilog=format_epilog("sluice quarantine list"),
)
add_command(app, list_quarantines, name="list", panel="Quarantine")
add_command(app, show_quarantine, name="show", panel="Quarantine")
add_command(app, accept, panel="Quarantine")
