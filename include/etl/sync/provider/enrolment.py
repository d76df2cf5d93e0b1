"""A login at the provider: what a public token stands for, its bank, and the end of the access."""

import hashlib
import logging
from base64 import b64decode
from dataclasses import dataclass, field
from typing import Any

import msgspec

from etl.clients.http import printable_or_none
from etl.declare.provider import AccessUrlClaim, ConsentLookup, Enrolment, Placeholder, Provider
from etl.errors import ProviderRefused
from etl.json_text import DECODE_ERRORS
from etl.sync.provider.client import ProviderCallFailed, ProviderClient, Response
from etl.sync.provider.failures import texts_at, values_at
from etl.sync.provider.requests import Values

_MAX_NAME_LENGTH = 256
"""Characters."""

_MAX_DIGITS = 5
"""Digits of days of a consent; a number with more is none."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Institution:
    """A bank, as the provider names it; None where it does not."""

    institution_id: str | None
    name: str | None


@dataclass(frozen=True)
class GrantedItem:
    """A login to which the provider has granted access.

    Parameters
    ----------
    item_id
        The provider's id of the login.
    access_token
        Its access token, in clear text; never shown in a representation.
    """

    item_id: str
    access_token: str = field(repr=False)


@dataclass(frozen=True)
class Grant:
    """The logins that a public token stands for.

    Parameters
    ----------
    items
        The logins, at least one.
    valid_days
        Days for which the consent to them is valid; None if the provider does not say.
    """

    items: tuple[GrantedItem, ...]
    valid_days: int | None = None


async def exchange_public_token(client: ProviderClient, public_token: str) -> Grant:
    """Exchange a public token and return the logins that it stands for.

    Raises
    ------
    ProviderCallFailed
        If the provider could not be reached.
    ProviderRefused
        If the provider rejects the token, or its response lacks a field.
    """
    match client.provider.enrolment:
        case None:
            raise ProviderRefused(
                client.provider.name, "has no declared enrolment; link its logins with `--access-token` or `--file`"
            )
        case AccessUrlClaim():
            return Grant((await _claim_access_url(client, public_token),))
        case enrolment:
            document, items = await client.send(
                enrolment,
                {Placeholder.PUBLIC_TOKEN: public_token},
                parse=lambda response: _parse_enrolment(client.provider, enrolment, response.body),
            )
            return Grant(items, await _find_valid_days(client, enrolment.valid_days, document))


def _parse_enrolment(provider: Provider, enrolment: Enrolment, body: bytes) -> tuple[Any, tuple[GrantedItem, ...]]:
    try:
        document = msgspec.json.decode(body)
    except DECODE_ERRORS:
        document = None
    for path, value in enrolment.expects.items():
        found = texts_at(document, path)
        if found != [value]:
            shown = ", ".join(filter(None, map(printable_or_none, found))) or "nothing"
            raise ProviderRefused(
                provider.name,
                f"{enrolment.path} answered {shown} at {path} instead of {value}: it is not ready to link",
            )
    items = _usable_texts(document, enrolment.item_id)
    tokens = _usable_texts(document, enrolment.access_token) if enrolment.access_token else [""]
    if not items or not tokens:
        fields = " and ".join(filter(None, (enrolment.item_id, enrolment.access_token)))
        raise ProviderRefused(provider.name, f"{enrolment.path} answered without {fields}")
    return document, tuple(GrantedItem(item, tokens[0]) for item in items)


async def _find_valid_days(
    client: ProviderClient,
    valid_days: str | ConsentLookup | None,
    document: Any,  # noqa: ANN401 - any JSON
) -> int | None:
    """Return the days for which a consent is valid; None if they are not known, as a token is never lost for them."""
    path = valid_days
    if isinstance(valid_days, ConsentLookup):
        path = valid_days.valid_days
        values = {Placeholder.CONSENT_ID: _find_text(document, valid_days.consent_id) or ""}
        try:
            body = await client.send(valid_days, values, parse=lambda response: response.body)
            document = _decode(client.provider, valid_days.path, body)
        except (ProviderCallFailed, ProviderRefused) as error:
            log.warning("%s: it is not known for how long the consent is valid: %s", client.provider.name, error)
            return None
    texts = texts_at(document, str(path or ""))
    days = next((text for text in texts if text.isdecimal() and len(text) <= _MAX_DIGITS), None)
    return int(days) if days else None


async def _claim_access_url(client: ProviderClient, setup_token: str) -> GrantedItem:
    """Claim the URL with the password; a setup token serves once."""
    try:
        claim_url = b64decode(setup_token, validate=True).decode("ascii")
    except ValueError:
        raise ProviderRefused(client.provider.name, "gave no such setup token: it is no URL in Base64") from None

    def parse(response: Response) -> GrantedItem:
        access_url = response.body.decode("utf-8", errors="replace").strip()
        client.authorizer.require_own_host(access_url)
        # The URL names no login; its user name and password are as unique as one, and a digest gives neither away.
        return GrantedItem(hashlib.sha256(access_url.encode()).hexdigest(), access_url)

    return await client.post_to(claim_url, parse=parse)


async def find_institution(client: ProviderClient, item: GrantedItem) -> Institution:
    """Return the bank of a login; unknown where the provider does not tell.

    Raises
    ------
    ProviderCallFailed
        If the provider could not be reached, or the login cannot be read.
    ProviderRefused
        If the provider rejects the request, or its response is not JSON.
    """
    lookup = client.provider.enrolment.institution if client.provider.enrolment else None
    if lookup is None:
        return Institution(None, None)

    def parse(response: Response) -> Institution:
        document = _decode(client.provider, lookup.path, response.body)
        return Institution(_find_text(document, lookup.institution_id), _find_text(document, lookup.institution_name))

    return await client.send(lookup, _values_of(item), parse=parse)


async def give_up_access(client: ProviderClient, item: GrantedItem) -> bool:
    """Make the provider give up the access to a login; return False if there was none any more.

    Raises
    ------
    ProviderCallFailed
        If the provider could not be reached, or does not know the token.
    ProviderRefused
        If the provider rejects the request, or cannot unlink logins.
    """
    unlinking = client.provider.unlinking
    if unlinking is None:
        raise ProviderRefused(client.provider.name, "has no declared request to unlink a login")
    try:
        await client.send(unlinking, _values_of(item), parse=lambda response: response.body)
    except ProviderCallFailed as failure:
        if failure.code not in unlinking.gone_codes:
            raise
        return False
    return True


def _values_of(item: GrantedItem) -> Values:
    return {Placeholder.ACCESS_TOKEN: item.access_token, Placeholder.ITEM_ID: item.item_id}


def _decode(provider: Provider, path: str, body: bytes) -> Any:  # noqa: ANN401 - any JSON
    try:
        return msgspec.json.decode(body)
    except DECODE_ERRORS:
        raise ProviderRefused(provider.name, f"{path} answered no JSON") from None


def _usable_texts(document: Any, path: str) -> list[str]:  # noqa: ANN401 - any JSON
    """Return the texts at a path that can be stored; numbers are none."""
    return [text for text in values_at(document, path) if isinstance(text, str) and text and "\0" not in text]


def _find_text(document: Any, path: str | None) -> str | None:  # noqa: ANN401 - any JSON
    """Return the text at a path of a document; None if there is none that can be stored."""
    text = next(iter(_usable_texts(document, path)), None) if path else None
    return text if text is not None and len(text) <= _MAX_NAME_LENGTH else None
