"""`python -m dev.demo.bank`: run the sandbox bank in a container; after each restart it is the same bank.

Its date stays the date of its first start. `BANK_CLIENT_ID` and `BANK_SECRET` hold the credentials of its client.
"""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from dev.servers import bank
from dev.servers.bank import Sandbox


def command(sandbox: Sandbox, *, port: int, folder: Path) -> tuple[str, ...]:
    """Return the command that runs the bank for other containers; a journal keeps changes made by requests."""
    return (*bank.command(sandbox, port=port), "--host", "0.0.0.0", "--journal", str(folder / "journal"))  # noqa: S104


def load_or_create(folder: Path) -> Sandbox:
    """Return the bank saved in a folder; create it with today's date if there is none."""
    path = folder / "bank.json"
    sandbox = bank.load(path)
    if sandbox is None:
        sandbox = bank.new_sandbox(datetime.now(UTC).date())
        bank.save(path, sandbox)
    return sandbox


def main(
    folder: Annotated[Path, typer.Option(help="Folder in which the bank is saved.")],
    port: Annotated[int, typer.Option(help="Port to listen on.")],
) -> None:
    """Replace this process by the bank."""
    arguments = command(load_or_create(folder), port=port, folder=folder)
    os.execv(arguments[0], arguments)  # noqa: S606 - without a shell


if __name__ == "__main__":
    typer.run(main)
