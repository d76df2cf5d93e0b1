"""What a secret must be; a stack whose secrets are missing, weak or shared does not start."""

import re
from collections.abc import Iterator, Mapping

from cryptography.fernet import Fernet

PASSWORDS = (
    "POSTGRES_PASSWORD",
    "WAREHOUSE_PASSWORD",
    "AIRFLOW_DB_PASSWORD",
    "AIRFLOW_READER_PASSWORD",
    "REDIS_PASSWORD",
    "ADMIN_PASSWORD",
)
SIGNING = ("AIRFLOW__API_AUTH__JWT_SECRET", "AIRFLOW__API__SECRET_KEY")
KEYS = ("AIRFLOW__CORE__FERNET_KEY", "SLUICE_KEYS")

_PASSWORD_LENGTH = 20
_SIGNING_LENGTH = 64
_DIFFERENT = 10
_IN_URLS = re.compile(r"[A-Za-z0-9_.~-]*")


def faults(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each secret that is no good; no value is shown."""
    for name in PASSWORDS:
        yield from _weak(name, environment.get(name, ""), least=_PASSWORD_LENGTH)
    for name in SIGNING:
        yield from _weak(_in_file(name), environment.get(name, ""), least=_SIGNING_LENGTH)
    for name in KEYS:
        if not _are_fernet_keys(environment.get(name, "")):
            yield f"{_in_file(name)} holds no Fernet key, which is 32 random bytes in URL-safe base64."
    yield from _shared(environment)


def _weak(name: str, value: str, *, least: int) -> Iterator[str]:
    if len(value) < least:
        yield f"{name} has {len(value)} characters; it must have at least {least}."
    elif len(set(value)) < _DIFFERENT:
        yield f"{name} has only {len(set(value))} different characters; it must have at least {_DIFFERENT}."
    if not _IN_URLS.fullmatch(value):
        yield f"{name} becomes part of URLs; it may hold letters, digits and `-_.~` only."


def _are_fernet_keys(value: str) -> bool:
    try:
        return bool([Fernet(key.strip()) for key in value.split(",")])
    except ValueError:
        return False


def _shared(environment: Mapping[str, str]) -> Iterator[str]:
    """Two secrets that are the same protect no better than the one that leaks first."""
    first: dict[str, str] = {}
    for name in (*PASSWORDS, *SIGNING, *KEYS):
        value = environment.get(name, "")
        if value and first.setdefault(value, name) != name:
            yield f"{_in_file(name)} is the same as {_in_file(first[value])}; give each a value of its own."


def _in_file(name: str) -> str:
    """Return what a variable of Airflow's is called in `.env`."""
    return name.rpartition("__")[2]
