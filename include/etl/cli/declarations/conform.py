"""`sluice conform`: play what real banks do wrong against the declarations of a provider."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from etl.catalog.entities import ENTITIES
from etl.cli.arguments import PROVIDERS, find_provider
from etl.cli.help import AsJson, examples
from etl.cli.logins.link import read_items
from etl.cli.terminal import print_json, print_line
from etl.errors import SettingMissing
from etl.settings import Endpoint

if TYPE_CHECKING:
    from etl.conform.kit import Provided
    from etl.conform.verdict import Verdict
    from etl.declare.provider import Provider

_JSON = "`verdicts`, a list of `entity`, `behaviour`, `result` (`ok`, `wrong` or `not applicable`) and `reason`"
_PROVIDER_NAMES = ", ".join(sorted(PROVIDERS))


@examples(
    "sluice conform mybank --url http://127.0.0.1:8700 --logins logins.csv",
    "sluice conform mybank --logins logins.csv --record recordings/mybank",
    "sluice conform mybank --recording recordings/mybank --only 'login needed'",
    json=_JSON,
)
def conform(
    provider: Annotated[
        str,
        typer.Argument(metavar="PROVIDER", help=f"One of {_PROVIDER_NAMES}.", autocompletion=lambda: sorted(PROVIDERS)),
    ],
    *,
    url: Annotated[
        str, typer.Option(help="Base URL of its sandbox; by default the host of its Airflow connection.")
    ] = "",
    logins: Annotated[
        Path | None,
        typer.Option(help="Logins of the sandbox: a file as for `sluice link`. Four at most are read.", dir_okay=False),
    ] = None,
    public_token: Annotated[
        list[str] | None, typer.Option(help="A public token of the sandbox, in place of --logins; may be repeated.")
    ] = None,
    record: Annotated[
        Path | None, typer.Option(help="Folder to write what the sandbox sent to, without secrets.", file_okay=False)
    ] = None,
    recording: Annotated[
        Path | None, typer.Option(help="Folder of such a recording, in place of the sandbox.", file_okay=False)
    ] = None,
    answers: Annotated[
        Path | None,
        typer.Option(help="JSON file of errors as the provider's documentation shows them.", dir_okay=False),
    ] = None,
    database: Annotated[
        str, typer.Option(help="URL of a Postgres that may create databases; by default the warehouse's server.")
    ] = "",
    without: Annotated[
        list[str] | None,
        typer.Option(help="A behaviour that the provider never shows; may be repeated.", metavar="BEHAVIOUR"),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Play only this behaviour; may be repeated.", metavar="BEHAVIOUR")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Play what real banks do wrong against the declarations of a provider, and print a verdict for each behaviour.

    The sandbox is read once, through a proxy that records its pages. From the recording, the real steps are then run
    with changed feeds, repeated pages, refused calls, spoiled records and killed steps. They use scratch databases,
    which are dropped at the end; the tables of the warehouse are not touched. It exits with 1 if a verdict is wrong.
    """
    import logging

    from stamina import instrumentation

    from etl.conform import documented, kit
    from etl.conform.verdict import find_wrong

    declared = _find_provider(provider)
    server = _server(database)
    # What the steps say about a disturbance is in the verdict, and the process ends with this command.
    logging.disable(logging.CRITICAL)
    instrumentation.set_on_retry_hooks(())
    entities = [entity for entity in ENTITIES if entity.provider.name == declared.name]
    width = max(len(entity.name) for entity in entities)
    verdicts = kit.conform(
        entities,
        replace(
            _provided(
                declared, url=url, logins=logins, public_tokens=public_token or [], record=record, recording=recording
            ),
            documented=documented.load(answers) if answers else {},
        ),
        server=server,
        without=without or (),
        only=only or (),
        tell=(lambda _: None) if as_json else partial(_print, width=width),
    )
    if as_json:
        print_json({"verdicts": verdicts})
    else:
        counts = Counter(verdict.result.value for verdict in verdicts)
        typer.echo(f"{declared.name}: " + ", ".join(f"{count} {result}" for result, count in counts.items()))
    raise typer.Exit(bool(find_wrong(verdicts)))


def _find_provider(name: str) -> Provider:
    try:
        return find_provider(name)
    except typer.BadParameter as error:
        error.param_hint = "PROVIDER"
        raise


def _print(verdict: Verdict, *, width: int) -> None:
    print_line(f"{verdict.result.value:<14}  {verdict.entity:<{width}}  {verdict.behaviour:<25}  {verdict.reason}")


def _provided(
    provider: Provider,
    *,
    url: str,
    logins: Path | None,
    public_tokens: list[str],
    record: Path | None,
    recording: Path | None,
) -> Provided:
    from etl.conform.kit import Provided

    if recording is not None:
        if url or logins or public_tokens or record:
            raise typer.BadParameter(
                "it takes the place of --url, --logins, --public-token and --record", param_hint="--recording"
            )
        return Provided(recording=recording)
    items = read_items(logins) if logins else []
    try:
        endpoint = Endpoint.from_environment(provider.connection)
    except SettingMissing:
        if not url:
            raise
        endpoint = Endpoint(url)
    return Provided(replace(endpoint, host=url or endpoint.host), items, public_tokens, record=record)


def _server(database: str) -> Endpoint:
    if not database:
        return Endpoint.from_environment("warehouse")
    from etl.conform.scratch import ServerUrlInvalid, parse_server

    try:
        return parse_server(database)
    except ServerUrlInvalid as error:
        raise typer.BadParameter(str(error), param_hint="--database") from None
