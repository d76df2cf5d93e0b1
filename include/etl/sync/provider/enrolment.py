"""A login at the provider: exchange of a public token for its access token, its bank, and the end of the access."""

from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec

from etl.declare.provider import Placeholder
from etl.errors import ProviderRefused
from etl.json_text import DECODE_ERRORS
from etl.sync.provider.client import ProviderCallFailed, ProviderClient, fill_template

_TextWithoutNul = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]+$")]


_MAX_NAME_LENGTH = 256
"""Characters."""


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


async def exchange_public_token(client: ProviderClient, public_token: str) -> GrantedItem:
    """Exchange a public token and return the login that it stands for.

    Raises
    ------
    ProviderCallFailed
        If the provider could not be reached.
    ProviderRefused
        If the provider rejects the token, or its response lacks a field.
    """
    enrolment = client.provider.enrolment
    response_type = msgspec.defstruct(
        "Granted", [(enrolment.item_id, _TextWithoutNul), (enrolment.access_token, _TextWithoutNul)]
    )

    def parse_item(body: bytes) -> GrantedItem:
        try:
            return GrantedItem(*msgspec.structs.astuple(msgspec.json.decode(body, type=response_type)))
        except DECODE_ERRORS:
            detail = f"{enrolment.path} answered without {enrolment.item_id} and {enrolment.access_token}"
            raise ProviderRefused(client.provider.name, detail) from None

    return await client.post(
        enrolment.path, fill_template(enrolment.request, {Placeholder.PUBLIC_TOKEN: public_token}), parse=parse_item
    )


async def find_institution(client: ProviderClient, access_token: str) -> Institution:
    """Return the bank of a login; unknown where the provider does not tell.

    Raises
    ------
    ProviderCallFailed
        If the provider could not be reached, or the login cannot be read.
    ProviderRefused
        If the provider rejects the request, or its response is not JSON.
    """
    lookup = client.provider.enrolment.institution
    if lookup is None:
        return Institution(None, None)

    def parse(body: bytes) -> Institution:
        try:
            document = msgspec.json.decode(body)
        except DECODE_ERRORS:
            raise ProviderRefused(client.provider.name, f"{lookup.path} answered no JSON") from None
        return Institution(_find_text(document, lookup.institution_id), _find_text(document, lookup.institution_name))

    request = fill_template(lookup.request, {Placeholder.ACCESS_TOKEN: access_token})
    return await client.post(lookup.path, request, parse=parse)


async def give_up_access(client: ProviderClient, access_token: str) -> bool:
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
    request = fill_template(unlinking.request, {Placeholder.ACCESS_TOKEN: access_token})
    try:
        await client.post(unlinking.path, request, parse=bytes)
    except ProviderCallFailed as failure:
        if failure.code not in unlinking.gone_codes:
            raise
        return False
    return True


def _find_text(document: Any, path: str) -> str | None:  # noqa: ANN401 - any JSON
    """Return the text at a path of a document; None if there is none that can be stored."""
    for name in path.split("."):
        document = document.get(name) if isinstance(document, dict) else None
    is_name = isinstance(document, str) and 0 < len(document) <= _MAX_NAME_LENGTH and "\0" not in document
    return document if is_name else None
