"""Free loopback ports, remembered from one start to the next."""

import secrets
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping

LOOPBACK = "127.0.0.1"
# Below the range that Linux and macOS give to outgoing connections: a server that restarts finds its port free.
_FIRST_PORT = 20_000
_PORT_COUNT = 10_000


def candidates() -> Iterator[int]:
    """Yield every port that may be chosen, from a random one on."""
    start = secrets.randbelow(_PORT_COUNT)
    return (_FIRST_PORT + (start + step) % _PORT_COUNT for step in range(_PORT_COUNT))


def is_free(port: int) -> bool:
    """Tell whether a loopback port can be listened on, and nobody answers on it."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        # As the servers do, so that connections of a previous run that are still closing do not count.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except OSError:
            return False
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as caller:
        caller.settimeout(1)
        return caller.connect_ex((LOOPBACK, port)) != 0


def assign_ports(
    preferred: Mapping[str, int | None],
    *,
    is_free: Callable[[int], bool],
    alternatives: Iterable[int],
) -> dict[str, int]:
    """Give every name a port of its own.

    Parameters
    ----------
    preferred
        Name → the port it had before or would like to have, None if it does not care.
    is_free
        Whether a port can be listened on.
    alternatives
        Ports to try for names whose wish cannot be met.

    Returns
    -------
    dict
        Name → port, in the order of `preferred`; a wish is met wherever its port is free and not wished for twice.
    """
    granted: dict[str, int] = {}
    for name, port in preferred.items():
        if port is not None and port not in granted.values() and is_free(port):
            granted[name] = port
    reserved = set(granted.values())
    rest = (port for port in alternatives if port not in reserved and is_free(port))
    return {name: granted[name] if name in granted else next(rest) for name in preferred}
