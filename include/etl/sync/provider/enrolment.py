"""Exchange of a public token for the access token of a login."""

from dataclasses import dataclass, field
from typing import Annotated

import msgspec

from etl.declare.provider import Placeholder
from etl.errors import ProviderRefused
from etl.json_text import DECODE_ERRORS
from etl.sync.provider.client import ProviderClient, fill_template

_TextWithoutNul = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]+$")]


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
