"""Runs the command line: `sluice`, or `python -m etl` where Sluice is not installed."""

import os
import sys

_COMPLETION_VARIABLE = "_SLUICE_COMPLETE"
"""Set by the completion script of a shell, which would print warnings into the line that is being typed."""

_CHECK = "check"
"""The command that reports faults itself, on its standard output."""

_INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT, as shells report it."""

_STDOUT = 1
"""Its file descriptor."""


def main() -> None:
    """Run a command; an expected error is one sentence and exit code 1."""
    if any("\ud800" <= character <= "\udfff" for argument in sys.argv for character in argument):
        sys.exit("error: an argument is not UTF-8; nothing was done.")
    try:
        _run()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:
        _discard_output()
        sys.exit(1)


def _run() -> None:
    # Imported here, so that Ctrl-C ends the program without a traceback even while its modules are loading.
    from etl.cli.app import app, warn_of_faults
    from etl.errors import SluiceError

    if _COMPLETION_VARIABLE not in os.environ and sys.argv[1:2] != [_CHECK]:
        warn_of_faults()
    try:
        app(prog_name="sluice")
    except SluiceError as error:
        sys.exit(f"error: {error}")
    except Exception as error:
        from psycopg import DataError

        if not isinstance(error, DataError):
            raise
        detail = error.diag.message_primary or error
        sys.exit(f"error: the warehouse does not accept a value that was given: {detail}; nothing was done.")


def _discard_output() -> None:
    """Let the final flush of the interpreter write to nowhere: whoever read the output has closed it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)


if __name__ == "__main__":
    main()
