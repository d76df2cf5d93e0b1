from collections import Counter
from random import Random

import pytest

from dev.bank.world.merchants import MERCHANT_COUNT, SHOPS, SUBSCRIPTIONS, UTILITIES, Market, Merchant
from dev.bank.world.seed import Key


@pytest.fixture(scope="module")
def merchants() -> list[Merchant]:
    market = Market.of(Key.of("seed"))
    return [*market.shops.merchants, *market.subscriptions.merchants, *market.utilities.merchants]


def test_the_pool_has_about_the_declared_size(merchants: list[Merchant]) -> None:
    assert len(merchants) == pytest.approx(MERCHANT_COUNT, rel=0.02)


def test_no_two_merchants_share_a_name_or_an_id(merchants: list[Merchant]) -> None:
    assert len({each.name for each in merchants}) == len({each.entity_id for each in merchants}) == len(merchants)


def test_no_two_trades_share_a_suffix() -> None:
    suffixes = Counter(suffix for trade in (*SHOPS, *SUBSCRIPTIONS, *UTILITIES) for suffix in trade.suffixes)
    assert suffixes.most_common(1)[0][1] == 1


def test_the_pool_depends_on_the_seed() -> None:
    assert Market.of(Key.of("seed")) == Market.of(Key.of("seed")) != Market.of(Key.of("other"))


def test_websites_are_in_a_reserved_domain(merchants: list[Merchant]) -> None:
    websites = [each.website or "" for each in merchants]
    assert all(website.endswith(".example") and " " not in website for website in websites)


def test_trades_are_drawn_by_weight() -> None:
    shops = Market.of(Key.of("seed")).shops
    counts = Counter(each.trade for each in shops.pick_many(Random(0), 20_000))
    total_weight = sum(trade.weight for trade in SHOPS)
    assert {trade: counts[trade] / 20_000 for trade in SHOPS} == pytest.approx(
        {trade: trade.weight / total_weight for trade in SHOPS}, abs=0.01
    )
