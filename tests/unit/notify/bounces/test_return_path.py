"""Return paths name their delivery, and cannot be forged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.errors import SettingInvalid, SettingMissing
from etl.mail_address import parse_address
from etl.notify.bounces.return_path import ReturnPaths
from etl.settings import ReturnPathSettings

OLD, NEW = "o" * 32, "n" * 32
ADDRESS = "bounce@bank.example"


def paths(*keys: str, address: str = ADDRESS) -> ReturnPaths:
    return ReturnPaths(ReturnPathSettings(address, keys))


@given(delivery_id=st.integers(1, 2**63 - 1))
def test_a_return_path_is_a_valid_address_that_names_its_delivery_in_any_case(delivery_id: int) -> None:
    signed = paths(NEW, address=f"{'b' * 20}@bank.example").build(delivery_id)
    assert parse_address(signed).address == signed
    for text in (signed, f"<{signed.upper()}>", f"SRS0=ab=cd=bank.example={signed}@forwarder.example"):
        assert paths(NEW).find(["nothing", text]) == delivery_id


@given(delivery_id=st.integers(1, 10**6), other=st.integers(1, 10**6))
def test_a_signature_is_valid_for_its_own_delivery_only(delivery_id: int, other: int) -> None:
    forged = paths(NEW).build(delivery_id).replace(f"+{delivery_id}.", f"+{other}.")
    assert paths(NEW).find([forged]) == (delivery_id if delivery_id == other else None)


@given(text=st.text(max_size=60) | st.from_regex(r"b\+[0-9]{1,25}\.[a-z2-7]{15,17}@", fullmatch=True))
def test_nothing_that_was_not_signed_names_a_delivery(text: str) -> None:
    assert paths(NEW).find([text]) is None


def test_an_old_key_verifies_until_it_is_removed() -> None:
    signed = paths(OLD).build(7)
    assert paths(NEW, OLD).find([signed]) == 7
    assert paths(NEW, OLD).build(7) == paths(NEW).build(7)
    assert paths(NEW).find([signed]) is None


def test_without_the_setting_mails_keep_the_return_path_of_their_sender() -> None:
    assert paths(NEW, address="").build(7) == ""


@pytest.mark.parametrize("address", ["bounce", "b+c@bank.example", f"{'b' * 21}@bank.example", "bö@bank.example"])
def test_an_address_that_cannot_be_extended_is_refused(address: str) -> None:
    with pytest.raises(SettingInvalid, match="SLUICE_RETURN_PATH"):
        ReturnPathSettings.from_environment({"SLUICE_RETURN_PATH": address, "SLUICE_LINK_KEYS": NEW})


def test_an_address_needs_a_key() -> None:
    with pytest.raises(SettingMissing, match="SLUICE_LINK_KEYS"):
        ReturnPathSettings.from_environment({"SLUICE_RETURN_PATH": ADDRESS})
    assert ReturnPathSettings.from_environment({"SLUICE_RETURN_PATH": ADDRESS, "SLUICE_KEYS": "k"}).keys == ("k",)
