"""Chooses free loopback ports, the same as at the last start where possible."""

import secrets
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping

LOOPBACK = "127.0.0.1"
UI_PORT = 8080
"""Port of Airflow's web UI at the first start, if it is free."""

# Below the range that Linux and macOS use for outgoing connections, so that a server that restarts finds its port free.
_FIRST_PORT = 20_000
_PORT_COUNT = 10_000


def candidates() -> Iterator[int]:
    """Yield every port that may be chosen, starting at a random one."""
    start = secrets.randbelow(_PORT_COUNT)
    return (_FIRST_PORT + (start + step) % _PORT_COUNT for step in range(_PORT_COUNT))


def is_free(port: int) -> bool:
    """Return whether a loopback port can be listened on, and nobody answers on it."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        # The servers set this too: connections of a previous run that are still closing do not block the port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except OSError:
            return False
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
        client.settimeout(1)
        return client.connect_ex((LOOPBACK, port)) != 0


def assign_ports(
    preferred: Mapping[str, int | None],
    *,
    is_free: Callable[[int], bool],
    alternatives: Iterable[int],
) -> dict[str, int]:
    """Assign each name a port of its own.

    Parameters
    ----------
    preferred
        Name → its previous or desired port; None for any port.
    is_free
        Whether a port can be listened on.
    alternatives
        Ports for names that cannot get their preferred one.

    Returns
    -------
    dict
        Name → port, in the order of `preferred`. A preferred port is assigned if it is free; if two names prefer it,
        to the first.
    """
    assigned: dict[str, int] = {}
    for name, port in preferred.items():
        if port is not None and port not in assigned.values() and is_free(port):
            assigned[name] = port
    reserved = set(assigned.values())
    free_alternatives = (port for port in alternatives if port not in reserved and is_free(port))
    return {name: assigned[name] if name in assigned else next(free_alternatives) for name in preferred}
