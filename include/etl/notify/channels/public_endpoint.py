"""The SSRF guard: a subscription's endpoint comes from a stranger's browser, so only public addresses are contacted."""

from __future__ import annotations

import socket
from ipaddress import IPv6Address, ip_address

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

_MAX_URL_LENGTH = 2048


class EndpointForbidden(Exception):
    """An endpoint is not on the public internet."""


def parse(text: str) -> URL:
    """Parse the URL of an endpoint.

    Raises
    ------
    EndpointForbidden
        If it is no https URL, holds credentials, or has an address that is not public.
    """
    try:
        url = URL(text) if len(text) <= _MAX_URL_LENGTH else URL()
    except ValueError:
        url = URL()
    if url.scheme != "https" or not url.host or url.user is not None or url.password is not None:
        raise EndpointForbidden("its endpoint is no https URL")
    # Addresses have other notations, such as 127.1; names of the public internet end in letters (RFC 3696, 2).
    is_shortened = not _is_literal(url.host) and url.host.rstrip(".").rpartition(".")[2].isdigit()
    if is_shortened or (_is_literal(url.host) and not _is_public(url.host)):
        raise EndpointForbidden("its endpoint is not on the public internet")
    return url


class PublicResolver(AbstractResolver):
    """Resolves names as usual, but to public addresses only.

    The client connects to the addresses that were checked, so a name that resolves differently a moment later (DNS
    rebinding) gains nothing.
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
        addresses = await self._resolver.resolve(host, port, family)
        if not all(_is_public(address["host"]) for address in addresses):
            raise EndpointForbidden("its endpoint is not on the public internet")
        return addresses

    async def close(self) -> None:
        """Close the resolver that it wraps."""
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
        # An IPv6 address that embeds an IPv4 address routes to that.
        embedded = address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[1])
        if embedded:
            return _is_public(str(embedded))
        if str(address).startswith("64:ff9b:"):
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved
