"""`sluice keys`: what each key of tokens has encrypted, and rotation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from etl.cli.help import AsJson, add_command, examples, format_epilog
from etl.cli.terminal import print_json, print_line, print_table
from etl.settings import Settings

if TYPE_CHECKING:
    from etl.sync.logins.keys import KeyUse

_CHECK_JSON = (
    "a list of `key_id` (derived from a key, and of no use without it; empty for tokens of before, which are bound to "
    "no login), `position` (in SLUICE_KEYS, from 1; null if it is not there) and `tokens`"
)
_ROTATE_JSON = "`replaced`, a number of tokens, and `unreadable`, a list of provider account ids (0: of a client)"


@examples("sluice keys check", json=_CHECK_JSON)
def check(*, as_json: AsJson = False) -> None:
    """Show how many tokens each key has encrypted; exit with 1 if a key that is needed is missing.

    A key without tokens can be removed from SLUICE_KEYS, once all processes have been restarted with a newer one.
    """
    from etl.db.connection import connect_warehouse
    from etl.sync.logins import keys
    from etl.sync.logins.store.token_cipher import TokenCipher

    cipher = TokenCipher(Settings.from_environment().keys)
    with connect_warehouse() as db:
        keys.require_keys(db, cipher)
        uses = keys.count_use(db, cipher)
    if as_json:
        print_json(uses)
    else:
        rows = [(each.key_id or "(of before)", _place(each), f"{each.tokens:,}") for each in uses]
        print_table(("key", "in SLUICE_KEYS", "tokens"), rows, numbers=("tokens",))
        if any(each.tokens for each in uses[1:]):
            print_line("`sluice keys rotate` encrypts all tokens with the first key.")
    raise typer.Exit(any(each.is_missing for each in uses))


@examples("sluice keys rotate", json=_ROTATE_JSON)
def rotate(*, as_json: AsJson = False) -> None:
    """Encrypt all tokens with the first of SLUICE_KEYS, while everything runs; it can be interrupted and repeated.

    To rotate: put the new key before the old one, restart all processes, run this, check that the old key has no tokens
    left, and remove it.
    """
    from etl.db.connection import connect_warehouse
    from etl.sync.logins import keys
    from etl.sync.logins.store.token_cipher import TokenCipher

    cipher = TokenCipher(Settings.from_environment().keys)
    with connect_warehouse() as db:
        rotation = keys.rotate(db, cipher)
    if as_json:
        print_json(rotation)
    else:
        print_line(f"{rotation.replaced:,} tokens were encrypted with the first key.")
        if rotation.unreadable:
            logins = ", ".join(map(str, rotation.unreadable[:20]))
            print_line(
                f"{len(rotation.unreadable):,} logins have tokens that no key decrypts, and that stay as they are: "
                f"{logins}; add the key that encrypted them, or have these logins linked again."
            )
    raise typer.Exit(bool(rotation.unreadable))


def _place(use: KeyUse) -> str:
    if use.position is not None:
        return str(use.position)
    return "missing" if use.is_missing else "any"


app = typer.Typer(
    help="Check and rotate the keys of access tokens.",
    no_args_is_help=True,
    epilog=format_epilog("sluice keys check"),
)
add_command(app, check, panel="Keys")
add_command(app, rotate, panel="Keys")
