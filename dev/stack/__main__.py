"""The local stack: `python -m dev.stack up`, `down`, `reload`, `watch`, `status` and `logs`."""

import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from dev.servers.errors import StackError
from dev.stack.down import down as stop_stack
from dev.stack.home import DEFAULT_HOME
from dev.stack.home import find as find_home
from dev.stack.plan import StackOptions
from dev.stack.reload import GRACE, reload
from dev.stack.shell_environment import read_env_file, use_catalog
from dev.stack.status import status as read_status
from dev.stack.up import StackScope
from dev.stack.up import up as start_stack
from etl.errors import SluiceError

app = typer.Typer(help=__doc__, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

HomeOption = Annotated[Path, typer.Option("--home", readable=False, help="Folder of all files of the stack.")]
_EXIT_NOT_RUNNING = 3
_TAIL_LINES = 40
_GRACE_SECONDS = int(GRACE.total_seconds())


@app.command()
def up(
    home: HomeOption = DEFAULT_HOME,
    only: Annotated[
        StackScope, typer.Option(help="`servers`: Postgres, Valkey and the sandbox bank, without Airflow.")
    ] = StackScope.ALL,
) -> None:
    """Start all that does not run yet, and wait until it is ready."""
    use_catalog(find_home(home))
    stack = start_stack(home, scope=only, options=StackOptions(watches=True), say=_say)
    _say(f"`. {_relative_path(stack.home / 'env')}` sets this environment in any shell.")


@app.command()
def down(home: HomeOption = DEFAULT_HOME) -> None:
    """Stop everything, and keep the data."""
    stop_stack(home, say=_say)


@app.command("reload")
def reload_stack(
    home: HomeOption = DEFAULT_HOME,
    grace: Annotated[int, typer.Option(min=0, help="Seconds that running tasks have to finish.")] = _GRACE_SECONDS,
) -> None:
    """Restart Dag processor and workers, so that they import edited steps and plugins."""
    use_catalog(find_home(home))
    reload(home, grace=timedelta(seconds=grace), say=_say)


@app.command()
def watch(home: HomeOption = DEFAULT_HOME) -> None:
    """Reload whenever a step or a plugin changes, until interrupted; `up` runs this."""
    from dev.stack.watch import watch_project

    variables = read_env_file(find_home(home).env_file)
    project = Path(variables["AIRFLOW__CORE__PLUGINS_FOLDER"]).parent
    watch_project(project, lambda: reload(home, say=_say), say=_say)


@app.command()
def status(home: HomeOption = DEFAULT_HOME) -> None:
    """Show the state of each program; the exit code is 3 unless all are up."""
    stack_status = read_status(home)
    for line in stack_status.lines:
        _say(line)
    if not stack_status.is_up:
        raise typer.Exit(_EXIT_NOT_RUNNING)


@app.command()
def logs(
    program: Annotated[str | None, typer.Argument(help="Such as `scheduler`; by default, every program.")] = None,
    home: HomeOption = DEFAULT_HOME,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show new lines until interrupted.")] = False,
) -> None:
    """Show the end of a program's log."""
    folder = find_home(home).logs_folder
    paths = {path.stem: path for path in sorted(folder.glob("*.log"))}
    if not paths:
        _fail(f"{folder} holds no logs: nothing was started yet.")
    if program is not None and program not in paths:
        _fail(f"{folder} holds no log of {program}; it holds those of {', '.join(paths)}.")
    chosen = [paths[program]] if program is not None else list(paths.values())
    os.execvp("tail", ["tail", "-n", str(_TAIL_LINES), *(["-F"] if follow else []), *map(str, chosen)])  # noqa: S606


def main() -> None:
    """Run a command; an expected error is printed as one sentence, with exit code 1."""
    try:
        app()
    except (StackError, SluiceError) as error:
        _fail(str(error))


def _say(sentence: str) -> None:
    print(sentence, flush=True)


def _fail(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
    sys.exit(1)


def _relative_path(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


if __name__ == "__main__":
    main()
