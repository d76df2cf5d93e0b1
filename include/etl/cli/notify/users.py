"""`sluice notify users`: in which language and time zone users want to be written to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from etl.cli.help import AsJson, examples
from etl.cli.terminal import escape_unprintable, print_json, print_line


@examples(
    "sluice notify users 4711 --locale de-AT --time-zone Europe/Vienna",
    "sluice notify users --file users.csv",
    json="`locale` and `time_zone`, each null if the user named none",
)
def users(
    user: Annotated[
        str | None,
        typer.Argument(metavar="USER", help="The user's id in the application; or use --file.", show_default=False),
    ] = None,
    *,
    locale: Annotated[
        str | None, typer.Option(help="Language, or language and region, such as de-AT; '' forgets it.")
    ] = None,
    time_zone: Annotated[
        str | None, typer.Option(help="A name of the IANA database, such as Europe/Vienna; '' forgets it.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(help="CSV file of user,locale,time_zone; empty fields forget.", exists=True, dir_okay=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show or record in which language, and by whose clock, a user wants to be written to."""
    from etl.db.connection import connect_warehouse
    from etl.notify.timing.preferences import import_preferences, set_preferences

    if (user is None) == (file is None):
        raise typer.BadParameter("give either a user or --file")
    if file is not None and (locale is not None or time_zone is not None or as_json):
        raise typer.BadParameter("--file takes the locales and time zones from the file, and prints no JSON")

    def report(number: int, detail: str) -> None:
        typer.echo(escape_unprintable(f"line {number:,}: {detail}"), err=True)

    with connect_warehouse() as db:
        if user is not None:
            preferences = set_preferences(user, locale=locale, time_zone=time_zone, db=db)
            if as_json:
                print_json(preferences)
            else:
                print_line(f"locale: {preferences.locale or 'none'}, time zone: {preferences.time_zone or 'none'}")
        elif file is not None:
            with file.open("rb") as opened:
                result = import_preferences(opened, db=db, on_invalid=report)
            typer.echo(f"{result.changed:,} changed, {result.unchanged:,} as before, {result.invalid:,} invalid lines")
            raise typer.Exit(bool(result.invalid))
