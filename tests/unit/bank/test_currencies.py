from decimal import Decimal

import iso4217
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dev.bank.world.currencies import CURRENCIES, JPY, KWD, USD, Currency


@pytest.mark.parametrize("currency", CURRENCIES, ids=lambda currency: currency.code)
def test_exponents_are_those_of_iso_4217(currency: Currency) -> None:
    assert currency.exponent == iso4217.Currency(currency.code).exponent


@pytest.mark.parametrize(("currency", "written"), [(JPY, "-1205"), (USD, "-12.05"), (KWD, "-1.205")])
def test_minor_units_are_written_with_the_currencys_places(currency: Currency, written: str) -> None:
    assert str(currency.to_decimal(-1_205)) == written


@given(st.sampled_from(CURRENCIES), st.integers(-(10**15), 10**15))
def test_decimals_are_exact(currency: Currency, minor: int) -> None:
    assert currency.to_decimal(minor) * 10**currency.exponent == Decimal(minor)


@given(st.sampled_from(CURRENCIES), st.integers(1, 10**9))
def test_no_price_is_free(currency: Currency, cents: int) -> None:
    assert currency.from_cents(cents) >= 1
