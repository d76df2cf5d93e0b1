"""Rules for secrets: a stack does not start if one of its secrets is missing, weak or used twice."""

import re
from collections.abc import Iterator, Mapping

from cryptography.fernet import Fernet

PASSWORD_VARIABLES = (
    "POSTGRES_PASSWORD",
    "WAREHOUSE_PASSWORD",
    "AIRFLOW_DB_PASSWORD",
    "AIRFLOW_READER_PASSWORD",
    "REDIS_PASSWORD",
    "ADMIN_PASSWORD",
)
SIGNING_KEY_VARIABLES = ("AIRFLOW__API_AUTH__JWT_SECRET", "AIRFLOW__API__SECRET_KEY")
FERNET_KEY_VARIABLES = ("AIRFLOW__CORE__FERNET_KEY", "SLUICE_KEYS")

_MIN_PASSWORD_LENGTH = 20
_MIN_SIGNING_LENGTH = 64
_MIN_DISTINCT_CHARACTERS = 10
_URL_SAFE = re.compile(r"[A-Za-z0-9_.~-]*")


def problems(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a message for each rule that a secret breaks; no message holds the value of a secret."""
    for name in PASSWORD_VARIABLES:
        yield from _weaknesses(name, environment.get(name, ""), min_length=_MIN_PASSWORD_LENGTH)
    for name in SIGNING_KEY_VARIABLES:
        yield from _weaknesses(_env_file_name(name), environment.get(name, ""), min_length=_MIN_SIGNING_LENGTH)
    for name in FERNET_KEY_VARIABLES:
        if not _are_fernet_keys(environment.get(name, "")):
            yield f"{_env_file_name(name)} must hold Fernet keys: 32 random bytes each, in URL-safe base64."
    yield from _duplicates(environment)


def _weaknesses(name: str, value: str, *, min_length: int) -> Iterator[str]:
    if len(value) < min_length:
        yield f"{name} has {len(value)} characters; it must have at least {min_length}."
    elif len(set(value)) < _MIN_DISTINCT_CHARACTERS:
        yield (
            f"{name} has only {len(set(value))} different characters; it must have at least {_MIN_DISTINCT_CHARACTERS}."
        )
    if not _URL_SAFE.fullmatch(value):
        yield f"{name} is used in URLs; it may hold only letters, digits and `-_.~`."


def _are_fernet_keys(value: str) -> bool:
    try:
        return bool([Fernet(key.strip()) for key in value.split(",")])
    except ValueError:
        return False


def _duplicates(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a message for each secret that equals an earlier one: if either leaks, both are exposed."""
    first_names: dict[str, str] = {}
    for name in (*PASSWORD_VARIABLES, *SIGNING_KEY_VARIABLES, *FERNET_KEY_VARIABLES):
        value = environment.get(name, "")
        if value and first_names.setdefault(value, name) != name:
            first = _env_file_name(first_names[value])
            yield f"{_env_file_name(name)} is the same as {first}; give each its own value."


def _env_file_name(name: str) -> str:
    """Return the name in `.env` of the setting behind an environment variable of Airflow."""
    return name.rpartition("__")[2]
