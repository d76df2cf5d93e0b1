"""How Postgres, which refuses to run as root, is run all the same."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from dev.servers.errors import AccountMissing, AccountUnnamed


class Privileges(Enum):
    """The ways to run Postgres, best first."""

    DIRECT = "direct"
    """As the caller, who is not root and has a name."""

    NAMESPACE = "namespace"
    """As the caller seen from outside and as an ordinary account from inside, in a user namespace."""

    DROPPED = "dropped"
    """As an unprivileged account, from copies in a folder that this account can reach."""


@dataclass(frozen=True)
class Account:
    """An account of this machine.

    Parameters
    ----------
    name
        Login name.
    uid, gid
        User and group id; `initdb` wants them to have a name.
    """

    name: str
    uid: int
    gid: int


def unprivileged_account(name: str = "nobody") -> Account:
    """Return the account that a root-owned Postgres runs under.

    Raises
    ------
    AccountMissing
        If this machine has no such account.
    """
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise AccountMissing(name) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def choose_privileges(*, uid: int, is_named: bool, namespace_works: Callable[[], bool]) -> Privileges:
    """Return the best way to run Postgres; namespaces are tried only if `initdb` would refuse the caller.

    Parameters
    ----------
    uid
        The caller.
    is_named
        Whether the machine knows a login name for it; containers often run under a number only.
    namespace_works
        Tries a namespace.

    Raises
    ------
    AccountUnnamed
        If the caller is neither root nor has a name, and namespaces are refused.
    """
    if uid != 0 and is_named:
        return Privileges.DIRECT
    if namespace_works():
        return Privileges.NAMESPACE
    if uid != 0:
        raise AccountUnnamed(uid)
    return Privileges.DROPPED


def has_name(uid: int) -> bool:
    """Tell whether the machine knows a login name for a user."""
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def namespace_command(account: Account) -> tuple[str, ...]:
    """Return what to put before a command to run it as `account` in a user namespace, under the same process id."""
    unshare = shutil.which("unshare", path=f"{os.environ.get('PATH', os.defpath)}:/usr/bin:/bin") or "unshare"
    return (unshare, "--user", f"--map-user={account.uid}", f"--map-group={account.gid}", "--")


def namespace_works(account: Account, *, program: Path, folder: Path) -> bool:
    """Tell, by doing it, whether a program can be run in a user namespace that can write to a folder."""
    trial = ("sh", "-c", '"$0" --version >/dev/null && test -w "$1"', str(program), str(folder))
    try:
        done = subprocess.run([*namespace_command(account), *trial], capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
