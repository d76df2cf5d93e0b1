"""Parsing of server URLs, and the Airflow connections made from them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from dev.servers.errors import AddressInvalid

_RATE_LIMITS_DATABASE = 1


class ServerKind(Enum):
    """Kind of server that a URL names, with its schemes, its default port and an example."""

    POSTGRES = (("postgresql", "postgres"), 5432, "postgresql://user:password@host:5432/database")
    REDIS = (("redis", "rediss"), 6379, "redis://:password@host:6379/0")

    def __init__(self, schemes: tuple[str, ...], port: int, example: str) -> None:
        self.schemes = schemes
        self.port = port
        self.example = example


@dataclass(frozen=True)
class Url:
    """The parts of a server's URL, decoded.

    Parameters
    ----------
    scheme
        Such as `postgresql` or `redis`.
    user, password
        Credentials; empty if none.
    host, port
        Address of the server.
    database
        Name or number of the database; empty if none.
    options
        Parameters of the query.
    """

    scheme: str
    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)
    database: str = ""
    options: tuple[tuple[str, str], ...] = ()

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"{self.host}:{self.port}"

    def to_string(self, *, scheme: str | None = None, database: str | None = None) -> str:
        """Return the URL as text, with another scheme or database if given."""
        user = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@" if self.user or self.password else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        name = quote(self.database if database is None else database, safe="")
        query = f"?{urlencode(self.options)}" if self.options else ""
        return f"{scheme or self.scheme}://{user}{host}:{self.port}/{name}{query}"


def parse(name: str, text: str, kind: ServerKind) -> Url:
    """Return the parts of the URL in a variable, without the driver in its scheme (`postgresql+psycopg`).

    Parameters
    ----------
    name
        Name of the variable, for the error message.
    text
        Value of the variable.
    kind
        Kind of server that it must name.

    Raises
    ------
    AddressInvalid
        If the value is not a URL of such a server.
    """
    try:
        parts = urlsplit(text)
        port = parts.port or kind.port
    except ValueError:
        raise AddressInvalid(name, kind.example) from None
    scheme = parts.scheme.partition("+")[0]
    if not parts.hostname or scheme not in kind.schemes:
        raise AddressInvalid(name, kind.example)
    return Url(
        scheme=scheme,
        host=unquote(parts.hostname),
        port=port,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=unquote(parts.path.lstrip("/")),
        options=tuple(parse_qsl(parts.query)),
    )


def postgres_connection(url: Url) -> str:
    """Return the Airflow connection to a Postgres database, as JSON."""
    return _connection("postgres", url, schema=url.database, extra=dict(url.options))


def rate_limits_connection(url: Url) -> str:
    """Return the Airflow connection to the counters of the rate limits, on the broker's server, as JSON."""
    secure: Mapping[str, object] = {"ssl": True} if url.scheme == "rediss" else {}
    return _connection("redis", url, extra={"db": _RATE_LIMITS_DATABASE, **secure})


def mail_connection(host: str, port: int) -> str:
    """Return the Airflow connection to the mail server of this machine, as JSON."""
    extra = {"disable_ssl": True, "disable_tls": True, "from_email": "sluice@localhost", "to": "on-call@localhost"}
    return json.dumps({"conn_type": "smtp", "host": host, "port": port, "extra": extra})


def provider_connection(base_url: str, *, client_id: str, secret: str) -> str:
    """Return the Airflow connection to a provider, as JSON."""
    return json.dumps({"conn_type": "http", "host": base_url, "login": client_id, "password": secret})


def _connection(kind: str, url: Url, *, extra: Mapping[str, object], schema: str = "") -> str:
    fields: dict[str, object] = {
        "conn_type": kind,
        "host": url.host,
        "port": url.port,
        "login": url.user,
        "password": url.password,
        "schema": schema,
        "extra": extra,
    }
    return json.dumps({name: value for name, value in fields.items() if value})
