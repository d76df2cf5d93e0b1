"""`python -m dev.demo.bank`: the sandbox bank of a container, which is the same bank after each start.

Its days are those on which it was founded; the credentials of its client are in `BANK_CLIENT_ID` and `BANK_SECRET`.
"""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from dev.servers import bank
from dev.servers.bank import Sandbox


def command(sandbox: Sandbox, *, port: int, folder: Path) -> tuple[str, ...]:
    """Return the command that runs the bank for other containers, with what requests changed before."""
    return (*bank.command(sandbox, port=port), "--host", "0.0.0.0", "--journal", str(folder / "journal"))  # noqa: S104


def load_or_create(folder: Path) -> Sandbox:
    """Return the bank of a folder; founded today, if there is none."""
    path = folder / "bank.json"
    sandbox = bank.load(path)
    if sandbox is None:
        sandbox = bank.new_sandbox(datetime.now(UTC).date())
        bank.save(path, sandbox)
    return sandbox


def main(
    folder: Annotated[Path, typer.Option(help="Where to remember the bank.")],
    port: Annotated[int, typer.Option(help="Port to listen on.")],
) -> None:
    """Run the bank in place of this process."""
    arguments = command(load_or_create(folder), port=port, folder=folder)
    os.execv(arguments[0], arguments)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    typer.run(main)
