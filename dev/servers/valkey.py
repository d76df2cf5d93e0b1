"""The embedded Valkey: broker of the workers, and the counters of the rate limits."""

from pathlib import Path

import redis

from dev.servers.errors import ServerUnreachable
from dev.servers.ports import LOOPBACK

_CONNECT_SECONDS = 5


def render_configuration(*, port: int, password: str, folder: Path) -> str:
    """Return the configuration file: loopback only, with a password, every write kept in an append-only file.

    Parameters
    ----------
    port
        Port on the loopback interface.
    password
        Of the default user; it stands in this file and on no command line.
    folder
        Where the append-only files go.
    """
    quoted = str(folder).replace("\\", "\\\\").replace('"', '\\"')
    lines = {
        "bind": LOOPBACK,
        "port": str(port),
        "requirepass": password,
        "dir": f'"{quoted}"',
        "daemonize": "no",
        # The title would overwrite the environment by which a left-over server is recognised.
        "set-proc-title": "no",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": '""',
        "maxmemory-policy": "noeviction",
        "loglevel": "notice",
    }
    return "".join(f"{name} {value}\n" for name, value in lines.items())


def is_reachable(url: str) -> bool:
    """Tell whether a server lets its user in."""
    try:
        _ping(url)
    except redis.RedisError:
        return False
    return True


def require_reachable(url: str, *, name: str, address: str) -> None:
    """Check that a server that the caller named lets its user in.

    Parameters
    ----------
    url
        Its URL.
    name
        The variable that it came from.
    address
        Its host and port, for the message.

    Raises
    ------
    ServerUnreachable
        If it does not answer, or refuses the user.
    """
    try:
        _ping(url)
    except redis.RedisError as error:
        raise ServerUnreachable(name, address, str(error).rstrip(".")) from None


def _ping(url: str) -> None:
    client = redis.Redis.from_url(url, socket_connect_timeout=_CONNECT_SECONDS, socket_timeout=_CONNECT_SECONDS)
    try:
        client.ping()
    finally:
        client.close()
