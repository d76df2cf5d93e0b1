"""Public tokens, exchanged for access tokens."""

from dataclasses import dataclass, field
from typing import Annotated

import msgspec

from etl.declare.provider import Placeholder
from etl.errors import ProviderRefused
from etl.json_text import DECODE_ERRORS
from etl.sync.provider.client import ProviderClient, fill_template

_TextWithoutNul = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]+$")]


@dataclass(frozen=True)
class Item:
    """A login that the provider has granted.

    Parameters
    ----------
    item_id
        The provider's id of it.
    access_token
        What gives access to it, in clear; never shown in a representation.
    """

    item_id: str
    access_token: str = field(repr=False)


async def exchange_public_token(client: ProviderClient, public_token: str) -> Item:
    """Exchange a public token.

    Raises
    ------
    Refused
        If the provider could not be reached.
    ProviderRefused
        If it does not take the token, or its answer lacks a field.
    """
    enrolment = client.provider.enrolment
    granted = msgspec.defstruct(
        "Granted", [(enrolment.item_id, _TextWithoutNul), (enrolment.access_token, _TextWithoutNul)]
    )

    def read(body: bytes) -> Item:
        try:
            return Item(*msgspec.structs.astuple(msgspec.json.decode(body, type=granted)))
        except DECODE_ERRORS:
            found = f"{enrolment.path} answered without {enrolment.item_id} and {enrolment.access_token}"
            raise ProviderRefused(client.provider.name, found) from None

    return await client.post(
        enrolment.path, fill_template(enrolment.request, {Placeholder.PUBLIC_TOKEN: public_token}), parse=read
    )
