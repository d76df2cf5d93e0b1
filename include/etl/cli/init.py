"""`sluice init`: write a catalogue of one's own, with an example that runs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from etl import catalog_folder
from etl.cli.help import examples
from etl.declare.fault import INCLUDE_ROOT
from etl.errors import PermanentError

_EXAMPLE = INCLUDE_ROOT / catalog_folder.PACKAGE
_NOT_COPIED = shutil.ignore_patterns("__init__.py", "__pycache__")


class FolderRefused(PermanentError):
    """A catalogue cannot be written into a folder."""

    def __init__(
        self, folder: Path, reason: str, remedy: str = "name a folder that is empty or does not exist"
    ) -> None:
        super().__init__(f"{folder} {reason}; nothing was written. Please {remedy}.")


@examples("sluice init /srv/catalogue")
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write; it is empty, or does not exist.")],
) -> None:
    """Write a catalogue of your own: a provider, an entity and a notice as an example, to be changed.

    The setting SLUICE_CATALOG lets Sluice use it instead of the shipped catalogue.
    """
    path = folder.expanduser().absolute()
    try:
        if path.exists() and any(path.iterdir()):
            raise FolderRefused(path, "is not empty")
        shutil.copytree(_EXAMPLE, path, ignore=_NOT_COPIED, dirs_exist_ok=True)
    except (NotADirectoryError, FileExistsError):
        raise FolderRefused(path, "is a file, or lies below one") from None
    except (OSError, shutil.Error) as error:
        raise FolderRefused(path, f"cannot be written: {error}", "name another, or let yourself write it") from None
    for written in sorted(each for each in path.rglob("*") if each.is_file()):
        typer.echo(f"wrote {written}")
    typer.echo(
        f"\nUse it in this shell:  export {catalog_folder.VARIABLE}={path}\n"
        "Check it:              sluice check\n"
        "Look at it:            sluice describe\n"
        "Make its tables:       sluice migrate\n"
        "\n"
        "A local stack uses it, and makes its tables, once it is started again, in the folder of Sluice:\n"
        "python -m dev.stack up && . .local/env\n"
        "\n"
        f"In containers, write {catalog_folder.VARIABLE}={path} into .env, then:\n"
        "docker compose up --detach --wait"
    )
