"""Passwords and keys of a stack: made up at its first start, kept in one private file."""

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from cryptography.fernet import Fernet

from dev.servers import private_files
from dev.servers.ports import assign_ports, candidates, is_free

_PASSWORD_BYTES = 24
_SIGNING_BYTES = 64


@dataclass(frozen=True)
class Secrets:
    """What must not be guessed.

    Parameters
    ----------
    postgres_password
        Of the superuser of the embedded Postgres.
    valkey_password
        Of the embedded Valkey.
    admin_password
        Of the user `admin` of the web UI.
    bank_client_id, bank_secret
        What the sandbox bank knows its client by.
    supervisor_password
        Of the supervisor's control port.
    fernet_key
        Encrypts connections and variables in Airflow's database.
    jwt_secret
        Signs the tokens of the API; at least 64 bytes.
    api_secret_key
        Signs requests for logs; at least 64 bytes.
    sluice_keys
        Fernet keys, comma-separated; the first encrypts access tokens, all decrypt them.
    """

    postgres_password: str
    valkey_password: str
    admin_password: str
    bank_client_id: str
    bank_secret: str
    supervisor_password: str
    fernet_key: str
    jwt_secret: str
    api_secret_key: str
    sluice_keys: str


SECRET_NAMES = tuple(field.name for field in fields(Secrets))


def load_secrets(path: Path) -> Secrets:
    """Return the secrets in a file; whatever it lacks is made up and written to it."""
    text = private_files.read(path)
    known: Mapping[str, str] = json.loads(text) if text else {}
    found = Secrets(**{name: known.get(name) or _GENERATORS[name]() for name in SECRET_NAMES})
    if asdict(found) != dict(known):
        private_files.write(path, json.dumps(asdict(found), indent=2) + "\n")
    return found


def _generate_password() -> str:
    return secrets.token_urlsafe(_PASSWORD_BYTES)


def _generate_fernet_key() -> str:
    return Fernet.generate_key().decode()


_GENERATORS: Mapping[str, Callable[[], str]] = {
    "postgres_password": _generate_password,
    "valkey_password": _generate_password,
    "admin_password": _generate_password,
    "bank_client_id": lambda: secrets.token_hex(12),
    "bank_secret": _generate_password,
    "supervisor_password": _generate_password,
    "fernet_key": _generate_fernet_key,
    "jwt_secret": lambda: secrets.token_urlsafe(_SIGNING_BYTES),
    "api_secret_key": lambda: secrets.token_urlsafe(_SIGNING_BYTES),
    "sluice_keys": _generate_fernet_key,
}


PORT_NAMES = ("ui", "postgres", "valkey", "bank", "mail", "logs", "supervisor")


def load_ports(path: Path) -> dict[str, int]:
    """Return the ports of the last start, none if there was none."""
    text = private_files.read(path)
    known = json.loads(text) if text else {}
    return {name: port for name, port in known.items() if name in PORT_NAMES}


def choose_ports(
    path: Path, *, ui_port: int | None, say: Callable[[str], None], is_port_free: Callable[[int], bool] = is_free
) -> dict[str, int]:
    """Choose and write down the ports of this start: those of the last one wherever they are still free.

    Parameters
    ----------
    path
        Where the ports are remembered.
    ui_port
        Port that the web UI has at the first start, if it is free; None for any.
    say
        Is told of every port that is not what it was or should be.
    is_port_free
        Whether a port can be listened on.
    """
    before = load_ports(path)
    wanted = {name: before.get(name, ui_port if name == "ui" else None) for name in PORT_NAMES}
    ports = assign_ports(wanted, is_free=is_port_free, alternatives=candidates())
    for name, port in wanted.items():
        if port is not None and ports[name] != port:
            again = "; read the env file again in open shells" if name in before else ""
            say(f"Port {port} is taken by another program: {name} moves to {ports[name]}{again}.")
    private_files.write(path, json.dumps(ports, indent=2) + "\n")
    return ports
