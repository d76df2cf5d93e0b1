"""Ways to run Postgres, which refuses to run as root."""

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
    """In a user namespace: as the caller seen from outside, as an ordinary account from inside."""

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
        User and group id; `initdb` requires them to have a name.
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
        User id of the caller.
    is_named
        Whether that id has a login name; in containers it often has none.
    namespace_works
        Tests whether a user namespace works.

    Raises
    ------
    AccountUnnamed
        If the caller is not root, has no name, and namespaces are refused.
    """
    if uid != 0 and is_named:
        return Privileges.DIRECT
    if namespace_works():
        return Privileges.NAMESPACE
    if uid != 0:
        raise AccountUnnamed(uid)
    return Privileges.DROPPED


def has_name(uid: int) -> bool:
    """Return whether a user id has a login name."""
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def namespace_command(account: Account) -> tuple[str, ...]:
    """Return the prefix that makes a command run as `account` in a user namespace, under the same process id."""
    unshare = shutil.which("unshare", path=f"{os.environ.get('PATH', os.defpath)}:/usr/bin:/bin") or "unshare"
    return (unshare, "--user", f"--map-user={account.uid}", f"--map-group={account.gid}", "--")


def namespace_works(account: Account, *, program: Path, folder: Path) -> bool:
    """Test whether a program can be run in a user namespace and can write to a folder there."""
    trial = ("sh", "-c", '"$0" --version >/dev/null && test -w "$1"', str(program), str(folder))
    try:
        result = subprocess.run([*namespace_command(account), *trial], capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return result.returncode == 0
