"""Public tokens, exchanged for access tokens."""

from dataclasses import dataclass, field
from typing import Annotated

import msgspec

from etl.declare.provider import Fill
from etl.errors import ProviderRefused
from etl.json_text import UNDECODABLE
from etl.sync.provider.client import ProviderClient, fill

_Text = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]+$")]


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


async def exchange(client: ProviderClient, public_token: str) -> Item:
    """Exchange a public token.

    Raises
    ------
    Refused
        If the provider could not be reached.
    ProviderRefused
        If it does not take the token, or its answer lacks a field.
    """
    enrolment = client.provider.enrolment
    granted = msgspec.defstruct("Granted", [(enrolment.item_id, _Text), (enrolment.access_token, _Text)])

    def read(body: bytes) -> Item:
        try:
            return Item(*msgspec.structs.astuple(msgspec.json.decode(body, type=granted)))
        except UNDECODABLE:
            found = f"{enrolment.path} answered without {enrolment.item_id} and {enrolment.access_token}"
            raise ProviderRefused(client.provider.name, found) from None

    return await client.post(enrolment.path, fill(enrolment.request, {Fill.PUBLIC_TOKEN: public_token}), read=read)
