"""Secrets and ports of a stack, which are chosen at its first start and saved in its home."""

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from cryptography.fernet import Fernet

from dev.servers import private_files
from dev.servers.ports import assign_ports, candidates, is_free

PORT_NAMES = ("ui", "postgres", "valkey", "bank", "mail", "logs", "supervisor")

_PASSWORD_BYTES = 24
_SIGNING_BYTES = 64


@dataclass(frozen=True)
class Secrets:
    """Passwords and keys of a stack.

    Parameters
    ----------
    postgres_password
        Password of the superuser of the embedded Postgres.
    valkey_password
        Password of the embedded Valkey.
    admin_password
        Password of the user `admin` of the web UI.
    bank_client_id, bank_secret
        Credentials of the client of the sandbox bank.
    supervisor_password
        Password of the supervisor's control port.
    fernet_key
        Encrypts connections and variables in Airflow's database.
    jwt_secret
        Signs the tokens of the API; at least 64 bytes.
    api_secret_key
        Signs requests for logs; at least 64 bytes.
    sluice_keys
        Fernet keys, comma-separated; access tokens are encrypted with the first, and decrypted with any.
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
    """Return the secrets in a file; missing ones are generated and written to it."""
    text = private_files.read(path)
    saved: Mapping[str, str] = json.loads(text) if text else {}
    complete = Secrets(**{name: saved.get(name) or _GENERATORS[name]() for name in SECRET_NAMES})
    if asdict(complete) != dict(saved):
        private_files.write(path, json.dumps(asdict(complete), indent=2) + "\n")
    return complete


def load_ports(path: Path) -> dict[str, int]:
    """Return the ports of the last start; empty if there was none."""
    text = private_files.read(path)
    saved = json.loads(text) if text else {}
    return {name: port for name, port in saved.items() if name in PORT_NAMES}


def choose_ports(
    path: Path, *, ui_port: int | None, say: Callable[[str], None], is_port_free: Callable[[int], bool] = is_free
) -> dict[str, int]:
    """Choose and save the ports of this start: those of the last start, as far as they are free.

    Parameters
    ----------
    path
        File of the ports.
    ui_port
        Port of the web UI at the first start, if it is free; None for any.
    say
        Called with a message for each port that is taken and therefore replaced.
    is_port_free
        Returns whether a program can listen on a port.
    """
    saved = load_ports(path)
    preferred = {name: saved.get(name, ui_port if name == "ui" else None) for name in PORT_NAMES}
    ports = assign_ports(preferred, is_free=is_port_free, alternatives=candidates())
    for name, port in preferred.items():
        if port is not None and ports[name] != port:
            hint = "; read the env file again in open shells" if name in saved else ""
            say(f"Port {port} is taken by another program: {name} moves to {ports[name]}{hint}.")
    private_files.write(path, json.dumps(ports, indent=2) + "\n")
    return ports


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
