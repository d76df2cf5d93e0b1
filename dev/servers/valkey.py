"""The embedded Valkey: broker of the workers, and store of the counters of rate limits."""

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
        Of the default user; it is in this file, never on a command line.
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
        # A process title would overwrite the environment, by which a leftover server is found.
        "set-proc-title": "no",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": '""',
        "maxmemory-policy": "noeviction",
        "loglevel": "notice",
    }
    return "".join(f"{name} {value}\n" for name, value in lines.items())


def is_reachable(url: str) -> bool:
    """Return whether a server accepts its user."""
    try:
        _ping(url)
    except redis.RedisError:
        return False
    return True


def require_reachable(url: str, *, name: str, address: str) -> None:
    """Raise unless a server that the caller named accepts its user.

    Parameters
    ----------
    url
        Its URL.
    name
        The variable that holds the URL.
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
