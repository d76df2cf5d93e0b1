"""Which push endpoints, given by users, may be called."""

from __future__ import annotations

import pytest

from etl.notify.channels.public_endpoint import EndpointForbidden, parse

INTERNAL = (
    *("127.0.0.1", "10.1.1.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
    *("224.0.0.1", "255.255.255.255", "127.1", "2130706433", "[::1]", "[::]", "[fc00::1]", "[fe80::1]", "[ff02::1]"),
    *("[::ffff:10.0.0.1]", "[0:0:0:0:0:ffff:7f00:1]", "[64:ff9b::a00:1]", "[0064:ff9b::a00:1]", "[2002:a00:1::]"),
)


@pytest.mark.parametrize("host", INTERNAL)
def test_internal_address_is_forbidden_in_every_notation(host: str) -> None:
    with pytest.raises(EndpointForbidden):
        parse(f"https://{host}/push")


@pytest.mark.parametrize("host", ["push.example", "8.8.8.8", "[2606:4700::1111]", "xn--bcher-kva.example", "a1.b2.c3"])
def test_a_name_or_a_public_address_is_allowed(host: str) -> None:
    assert str(parse(f"https://{host}/push?a=b")) == f"https://{host}/push?a=b"
