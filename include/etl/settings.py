"""Settings and connections that Sluice reads from its environment; secrets are never shown in a representation."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from etl.errors import ConnectionMissing, SettingInvalid, SettingMissing

LINK_KEYS = "SLUICE_LINK_KEYS"
_UNSUBSCRIBE_URL = "SLUICE_UNSUBSCRIBE_URL"
_UNSUBSCRIBE_MAILTO = "SLUICE_UNSUBSCRIBE_MAILTO"
_RETURN_PATH = "SLUICE_RETURN_PATH"
_MAX_RETURN_LOCAL_PART = 20
"""Characters: with the number of a delivery and its signature it has 64 at most (RFC 5321, 4.5.3.1.1)."""
_MIN_SECRET_LENGTH = 32
"""Characters."""
_MAX_URL_LENGTH = 500
_FORBIDDEN_CHARACTERS = set('<>"\\ ')
_CONNECTION_FIELDS = {"conn_type", "description", "host", "login", "password", "schema", "port", "extra"}
"""Fields that Airflow accepts in a connection as JSON; it fails on any other."""
_MAX_SCHEMES = 2


@dataclass(frozen=True)
class Settings:
    """Settings that every worker shares.

    Parameters
    ----------
    raw_root
        URL of the folder of landing pages, raw batches and typed batches (`SLUICE_RAW_ROOT`).
    keys
        Fernet keys of access tokens (`SLUICE_KEYS`, comma-separated): the first encrypts, all decrypt.
    """

    raw_root: str
    keys: tuple[str, ...] = field(repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Return the settings from environment variables.

        Raises
        ------
        SettingMissing
            If a variable is not set.
        """
        keys = _require(environment, "SLUICE_KEYS", "comma-separated Fernet keys, the newest first")
        return cls(
            raw_root=_require(
                environment,
                "SLUICE_RAW_ROOT",
                "the URL of a folder that every worker reaches, such as file:///srv/sluice/raw",
            ),
            keys=_split_list(keys),
        )


@dataclass(frozen=True)
class LinkSettings:
    """Settings for creating and opening unsubscribe links; only workers that do so need them.

    Parameters
    ----------
    url
        https URL of the links (`SLUICE_UNSUBSCRIBE_URL`); empty if messages get no links.
    mailto
        Mail address that also accepts unsubscribe requests (`SLUICE_UNSUBSCRIBE_MAILTO`); empty if there is none.
    keys
        Secrets of links (`SLUICE_LINK_KEYS`, comma-separated), followed by `SLUICE_KEYS`: the first seals new links,
        all open existing ones. A service that only opens links needs only the former, so it cannot decrypt access
        tokens.
    """

    url: str = ""
    mailto: str = ""
    keys: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> LinkSettings:
        """Return the settings from environment variables.

        Raises
        ------
        SettingMissing
            If a URL is set, but no key.
        SettingInvalid
            If a key is too short, or the URL or the mail address cannot be used in a link.
        """
        url = environment.get(_UNSUBSCRIBE_URL, "").strip()
        mailto = environment.get(_UNSUBSCRIBE_MAILTO, "").strip()
        link_keys, token_keys = (_split_list(environment.get(name, "")) for name in (LINK_KEYS, "SLUICE_KEYS"))
        expected_keys = f"comma-separated secrets of {_MIN_SECRET_LENGTH} characters or more, the newest first"
        if any(len(key) < _MIN_SECRET_LENGTH for key in link_keys):
            raise SettingInvalid(LINK_KEYS, expected_keys)
        if url and not _is_link(url):
            expected_url = "an https URL without login and fragment, such as https://example.com/unsubscribe"
            raise SettingInvalid(_UNSUBSCRIBE_URL, expected_url)
        if mailto and not _is_address(mailto):
            raise SettingInvalid(_UNSUBSCRIBE_MAILTO, "a mail address in ASCII, such as unsubscribe@example.com")
        if url and not link_keys and not token_keys:
            raise SettingMissing(LINK_KEYS, expected_keys)
        return cls(url, mailto, (*link_keys, *token_keys))


@dataclass(frozen=True)
class ReturnPathSettings:
    """Settings of the return paths of mails, to which bounces go.

    Parameters
    ----------
    address
        Mail address whose mails `sluice notify bounces` reads, also with `+…` after its local part
        (`SLUICE_RETURN_PATH`); empty if bounces go to the sender of the mails.
    keys
        Secrets of signatures, as in `LinkSettings`: the first signs, all verify.
    """

    address: str = ""
    keys: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> ReturnPathSettings:
        """Return the settings from environment variables.

        Raises
        ------
        SettingMissing
            If there is an address, but no key.
        SettingInvalid
            If the address cannot be used, or a setting of links is invalid.
        """
        address = environment.get(_RETURN_PATH, "").strip().lower()
        keys = LinkSettings.from_environment(environment).keys
        local_part = address.partition("@")[0]
        if address and (not _is_address(address) or "+" in local_part or len(local_part) > _MAX_RETURN_LOCAL_PART):
            expected = (
                f"a mail address in ASCII, without + and with at most {_MAX_RETURN_LOCAL_PART} characters before @"
            )
            raise SettingInvalid(_RETURN_PATH, expected)
        if address and not keys:
            raise SettingMissing(LINK_KEYS, "comma-separated secrets, which sign return paths")
        return cls(address, keys)


@dataclass(frozen=True)
class Endpoint:
    """Address and credentials of a server, as held by an Airflow connection.

    Parameters
    ----------
    host
        Host name; for a provider, its base URL.
    port
        TCP port; 0 if not given.
    login, password
        Credentials; empty if none.
    schema
        Database name or number; empty if not given.
    extra
        Further options of the connection, such as `sslmode` or `ssl`.
    """

    host: str
    port: int = 0
    login: str = ""
    password: str = field(default="", repr=False)
    schema: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        """Return what is not secret; a password that was not quoted in its URI may be before an `@` in these fields."""
        host, schema = hide_login(self.host), hide_login(self.schema)
        return f"Endpoint(host={host!r}, port={self.port!r}, login={self.login!r}, schema={schema!r})"

    @classmethod
    def from_environment(cls, connection: str, environment: Mapping[str, str] = os.environ) -> Endpoint:
        """Return the endpoint of an Airflow connection, read from `AIRFLOW_CONN_<NAME>` as JSON or as a URI.

        Raises
        ------
        ConnectionMissing
            If the variable is not set.
        SettingInvalid
            If its value is neither JSON nor a URI of a connection.
        """
        name = f"AIRFLOW_CONN_{connection.upper()}"
        text = environment.get(name, "").strip()
        if not text:
            raise ConnectionMissing(name, connection)
        try:
            return _from_json(text) if text.lstrip().startswith("{") else _from_uri(text)
        except (ValueError, TypeError, AttributeError):
            raise SettingInvalid(name, "an Airflow connection, as JSON or as a URI") from None


def hide_login(text: str) -> str:
    """Return a host, a URL or a name without what stands before an `@`."""
    before, at, rest = text.rpartition("@")
    scheme, separator, _ = before.partition("://")
    return f"{scheme}{separator}…@{rest}" if at and separator else f"…@{rest}" if at else text


def _require(environment: Mapping[str, str], name: str, expected: str) -> str:
    value = environment.get(name, "").strip()
    if not value:
        raise SettingMissing(name, expected)
    return value


def _split_list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _is_link(url: str) -> bool:
    """Return whether a URL, followed by a token, can be written in a mail header and accept a POST."""
    if not (url.isascii() and url.isprintable()) or set(url) & _FORBIDDEN_CHARACTERS or len(url) > _MAX_URL_LENGTH:
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc and "#" not in url
    except ValueError:
        return False


def _is_address(text: str) -> bool:
    name, _, domain = text.partition("@")
    is_plain = text.isascii() and text.isprintable() and not set(text) & (_FORBIDDEN_CHARACTERS | set(",?&"))
    return is_plain and bool(name) and bool(domain) and "@" not in domain


def _from_json(text: str) -> Endpoint:
    """Read a connection as `Connection.from_json` of Airflow 3.3 does."""
    values = json.loads(text)
    if unknown := set(values) - _CONNECTION_FIELDS:
        raise ValueError(f"unknown fields: {unknown}")
    extra = values.get("extra")
    return Endpoint(
        host=_read_text(values, "host"),
        port=int(values.get("port") or 0),
        login=_read_text(values, "login"),
        password=_read_text(values, "password"),
        schema=str(values.get("schema") or ""),
        extra=_read_extra(json.loads(extra) if extra and isinstance(extra, str) else extra or {}),
    )


def _read_text(values: Mapping[str, object], name: str) -> str:
    text = values.get(name) or ""
    if not isinstance(text, str):
        raise TypeError(f"{name} is not text")
    return text


def _from_uri(text: str) -> Endpoint:
    """Read a connection as `Connection.from_uri` of Airflow 3.3's SDK does.

    The host may have a scheme of its own, as in `http://https://user:password@bank.example`, and the extra is either
    the query, whose values are text, or the JSON in its parameter `__extra__`.
    """
    schemes = text.count("://")
    if schemes > _MAX_SCHEMES:
        raise ValueError("it has more than two schemes")
    has_host_scheme = schemes == _MAX_SCHEMES
    rest = text.replace(f"{urlsplit(text).scheme}://", "" if has_host_scheme else "//")
    if has_host_scheme and set("@:") & set(rest.split("://", 1)[0]):
        raise ValueError("there is a login or a port before the second scheme")
    parts = urlsplit(rest)
    host = _host_of(parts)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    return Endpoint(
        host=f"{parts.scheme}://{host}" if host and has_host_scheme and parts.scheme else host,
        port=parts.port or 0,
        login=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        schema=unquote(parts.path[1:]),
        extra=_read_extra(json.loads(query["__extra__"] or "{}") if "__extra__" in query else query),
    )


def _host_of(parts: SplitResult) -> str:
    """Return the host; one that contains a quoted slash, such as the path of a socket, keeps its case."""
    host = unquote(parts.hostname or "")
    if "/" not in host:
        return host
    return unquote(parts.netloc.rpartition("@")[2].partition(":")[0])


def _read_extra(extra: object) -> dict[str, Any]:
    if not isinstance(extra, dict):
        raise TypeError("extra is not a JSON object")
    return extra
