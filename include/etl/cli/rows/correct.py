"""`sluice correct`: correct what the provider says of a transaction."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from etl.cli.arguments import require_id
from etl.cli.help import AsJson, add_command, examples, format_epilog
from etl.cli.terminal import print_json, print_line, truncate

if TYPE_CHECKING:
    from etl.sync.history.corrections import Correction

_JSON = (
    "`corrections`, a list of `provider_account_id`, `transaction_id`, `category`, `merchant_name`, `note`, "
    "`is_ignored` (each null unless corrected), `carried_from`, `corrected_at` and `corrected_by`: of the transaction, "
    "and of those that replaced it"
)


class _Field(StrEnum):
    CATEGORY = "category"
    MERCHANT = "merchant"
    NOTE = "note"
    IGNORE = "ignore"


_NAMES = {_Field.MERCHANT: "merchant_name", _Field.IGNORE: "is_ignored"}
"""Names of the fields whose option has another name."""


@examples(
    "sluice correct transaction lPNjeW1nR6CD --login 17 --category Pets",
    "sluice correct transaction lPNjeW1nR6CD --login 17 --ignore --clear note",
    json=_JSON,
)
def correct_transaction(
    transaction: Annotated[str, typer.Argument(metavar="ID", help="The provider's id of the transaction.")],
    *,
    login: Annotated[int, typer.Option(metavar="LOGIN", help="Its login.", callback=require_id)],
    category: Annotated[str | None, typer.Option(metavar="TEXT", help="The right category.")] = None,
    merchant: Annotated[str | None, typer.Option(metavar="TEXT", help="The right merchant name.")] = None,
    note: Annotated[str | None, typer.Option(metavar="TEXT", help="A note.")] = None,
    ignore: Annotated[
        bool | None, typer.Option("--ignore/--no-ignore", help="Whether reports leave it out.", show_default=False)
    ] = None,
    clear: Annotated[
        list[_Field] | None, typer.Option(help="Field that gets the provider's value again; may be repeated.")
    ] = None,
    by: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who corrects it; by default the user of this shell.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Correct fields of a transaction; they outrank what the provider sends, whatever it sends later.

    A correction of a pending transaction also holds for the posted one. Reports show the corrected values and leave out
    ignored transactions; alerts of unusual payments see what the provider sent.
    """
    from getpass import getuser

    from etl.db.connection import connect_warehouse
    from etl.sync.history import corrections

    given = {"category": category, "merchant_name": merchant, "note": note, "is_ignored": ignore}
    cleared = [_NAMES.get(field, field.value) for field in clear or ()]
    with connect_warehouse() as db:
        corrected = corrections.correct(
            db,
            login,
            transaction,
            values={name: value for name, value in given.items() if value is not None},
            cleared=cleared,
            corrected_by=by if by is not None else getuser(),
        )
    if as_json:
        print_json({"corrections": corrected})
        return
    for correction in corrected:
        print_line(_describe(correction))


def _describe(correction: Correction) -> str:
    fields = ", ".join(f"{name} = {truncate(str(value))}" for name, value in correction.fields.items())
    return f"transaction {correction.transaction_id}: {fields or 'the values of the provider hold'}"


app = typer.Typer(
    help="Correct what the provider says of a transaction.",
    no_args_is_help=True,
    epilog=format_epilog("sluice correct transaction ID --login 17 --note holidays"),
)
add_command(app, correct_transaction, name="transaction", panel="Corrections")
