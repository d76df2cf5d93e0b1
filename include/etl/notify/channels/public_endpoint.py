"""Which addresses may be asked on behalf of a stranger: a subscription's endpoint comes from somebody's browser."""

from __future__ import annotations

import socket
from ipaddress import IPv6Address, ip_address

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

_MAX_URL_LENGTH = 2048


class EndpointForbidden(Exception):
    """An endpoint is not of a push service in the public internet."""


def parse(text: str) -> URL:
    """Read the URL of an endpoint.

    Raises
    ------
    EndpointForbidden
        If it is no https URL, holds credentials, or names an address that is not public.
    """
    try:
        url = URL(text) if len(text) <= _MAX_URL_LENGTH else URL()
    except ValueError:
        url = URL()
    if url.scheme != "https" or not url.host or url.user is not None or url.password is not None:
        raise EndpointForbidden("its endpoint is no https URL")
    # Addresses have other notations, such as 127.1; names of the public internet end in letters (RFC 3696, 2).
    shortened = not _is_literal(url.host) and url.host.rstrip(".").rpartition(".")[2].isdigit()
    if shortened or (_is_literal(url.host) and not _is_public(url.host)):
        raise EndpointForbidden("its endpoint is not in the public internet")
    return url


class PublicResolver(AbstractResolver):
    """Looks names up as usual, and connects to public addresses only.

    What was looked up is what is connected to, so that a name that means something else a moment later gains nothing.
    """

    def __init__(self) -> None:
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a name.

        Raises
        ------
        EndpointForbidden
            If one of them is not public.
        """
        found = await self._resolver.resolve(host, port, family)
        if not all(_is_public(address["host"]) for address in found):
            raise EndpointForbidden("its endpoint is not in the public internet")
        return found

    async def close(self) -> None:
        """Do nothing: it holds nothing."""
        await self._resolver.close()


def _is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_public(text: str) -> bool:
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address):
        # An address that carries an older one leads to it.
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[1])
        if inner:
            return _is_public(str(inner))
        if str(address).startswith("64:ff9b:"):
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved
