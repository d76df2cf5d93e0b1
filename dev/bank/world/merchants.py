"""The merchants that the bank's customers pay: a fixed pool, drawn once from the seed."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, count
from random import Random
from typing import Self

from dev.bank.world import ids
from dev.bank.world.categories import Category, PaymentChannel, PrimaryCategory
from dev.bank.world.seed import HashDomain, Key


@dataclass(frozen=True, slots=True)
class Trade:
    """A line of business, with the category, names and prices of its merchants.

    Parameters
    ----------
    suffixes
        Last words of the merchants' names; no two trades share one.
    min_cents, max_cents
        US cents of the cheapest and the most expensive sale.
    weight
        Share of the merchants and of the purchases, relative to the other trades'.
    """

    category: Category
    suffixes: tuple[str, ...]
    min_cents: int
    max_cents: int
    weight: int
    channel: PaymentChannel = PaymentChannel.IN_STORE


def _in_store(primary: PrimaryCategory, detail: str, suffixes: str, prices: tuple[int, int], weight: int) -> Trade:
    return Trade(Category.of(primary, detail), tuple(suffixes.split("/")), *prices, weight)


def _online(primary: PrimaryCategory, detail: str, suffixes: str, prices: tuple[int, int], weight: int) -> Trade:
    return Trade(Category.of(primary, detail), tuple(suffixes.split("/")), *prices, weight, PaymentChannel.ONLINE)


SHOPS = (
    _in_store(
        PrimaryCategory.FOOD_AND_DRINK, "GROCERIES", "Market/Grocers/Foods/Pantry/Greengrocer", (600, 13_000), 20
    ),
    _in_store(PrimaryCategory.FOOD_AND_DRINK, "COFFEE", "Coffee/Espresso Bar/Tea Room/Roasters", (250, 950), 11),
    _in_store(
        PrimaryCategory.FOOD_AND_DRINK, "RESTAURANT", "Kitchen/Bistro/Trattoria/Grill/Noodle House", (1_200, 9_000), 10
    ),
    _in_store(PrimaryCategory.FOOD_AND_DRINK, "FAST_FOOD", "Burgers/Chicken/Pizza/Wraps", (500, 2_600), 8),
    _in_store(PrimaryCategory.FOOD_AND_DRINK, "BEER_WINE_AND_LIQUOR", "Cellars/Brewery/Taproom", (700, 4_500), 4),
    _in_store(
        PrimaryCategory.GENERAL_MERCHANDISE, "CONVENIENCE_STORES", "Corner Shop/Express/Mini Mart", (200, 2_200), 6
    ),
    _in_store(
        PrimaryCategory.GENERAL_MERCHANDISE, "CLOTHING_AND_ACCESSORIES", "Outfitters/Tailors/Shoes", (1_500, 16_000), 4
    ),
    _online(PrimaryCategory.GENERAL_MERCHANDISE, "ONLINE_MARKETPLACES", "Direct/Bazaar/Online", (800, 12_000), 7),
    _in_store(PrimaryCategory.GENERAL_MERCHANDISE, "ELECTRONICS", "Electronics/Audio/Camera", (1_900, 60_000), 1),
    _in_store(PrimaryCategory.GENERAL_MERCHANDISE, "BOOKSTORES_AND_NEWSSTANDS", "Books/News", (300, 4_000), 2),
    _in_store(PrimaryCategory.GENERAL_MERCHANDISE, "PET_SUPPLIES", "Pets/Aquatics", (900, 8_000), 1),
    _in_store(PrimaryCategory.GENERAL_MERCHANDISE, "GIFTS_AND_NOVELTIES", "Gifts/Flowers/Toys", (800, 7_000), 2),
    _in_store(PrimaryCategory.HOME_IMPROVEMENT, "HARDWARE", "Hardware/Timber/Tools", (500, 18_000), 2),
    _in_store(PrimaryCategory.HOME_IMPROVEMENT, "FURNITURE", "Furniture/Interiors", (4_000, 70_000), 1),
    _in_store(PrimaryCategory.MEDICAL, "PHARMACIES_AND_SUPPLEMENTS", "Pharmacy/Chemist", (400, 6_000), 3),
    _in_store(PrimaryCategory.MEDICAL, "DENTAL_CARE", "Dental/Orthodontics", (4_000, 30_000), 1),
    _in_store(PrimaryCategory.PERSONAL_CARE, "HAIR_AND_BEAUTY", "Hair/Barbers/Beauty", (1_500, 11_000), 2),
    _in_store(PrimaryCategory.ENTERTAINMENT, "TV_AND_MOVIES", "Cinema/Picture House", (900, 4_000), 2),
    _online(PrimaryCategory.ENTERTAINMENT, "VIDEO_GAMES", "Games/Arcade", (500, 7_000), 2),
    _in_store(PrimaryCategory.TRANSPORTATION, "GAS", "Fuel/Service Station", (2_000, 9_500), 5),
    _in_store(PrimaryCategory.TRANSPORTATION, "PUBLIC_TRANSIT", "Transit/Tramways/Rail", (200, 2_500), 9),
    _online(PrimaryCategory.TRANSPORTATION, "TAXIS_AND_RIDE_SHARES", "Cabs/Rides", (700, 4_500), 5),
    _in_store(PrimaryCategory.TRANSPORTATION, "PARKING", "Parking/Car Park", (200, 2_400), 3),
    _in_store(PrimaryCategory.GENERAL_SERVICES, "AUTOMOTIVE", "Garage/Tyres", (3_000, 45_000), 1),
    _online(PrimaryCategory.TRAVEL, "LODGING", "Hotel/Inn/Hostel", (7_000, 45_000), 1),
    _online(PrimaryCategory.TRAVEL, "FLIGHTS", "Airways/Air", (8_000, 60_000), 1),
)

SUBSCRIPTIONS = (
    _online(PrimaryCategory.ENTERTAINMENT, "MUSIC_AND_AUDIO", "Radio/Music", (499, 1_599), 3),
    _online(PrimaryCategory.ENTERTAINMENT, "OTHER_ENTERTAINMENT", "Stream/Series/Box Office", (699, 2_299), 4),
    _online(PrimaryCategory.GENERAL_SERVICES, "OTHER_GENERAL_SERVICES", "Cloud/Storage/Software", (199, 2_499), 3),
    _online(PrimaryCategory.PERSONAL_CARE, "GYMS_AND_FITNESS_CENTERS", "Fitness/Gym/Yoga", (1_999, 7_999), 3),
    _online(PrimaryCategory.GENERAL_SERVICES, "INSURANCE", "Insurance/Assurance", (2_500, 16_000), 3),
)

UTILITIES = (
    _online(PrimaryCategory.RENT_AND_UTILITIES, "GAS_AND_ELECTRICITY", "Energy/Power", (4_500, 18_000), 3),
    _online(PrimaryCategory.RENT_AND_UTILITIES, "INTERNET_AND_CABLE", "Broadband/Fibre", (2_500, 8_500), 3),
    _online(PrimaryCategory.RENT_AND_UTILITIES, "TELEPHONE", "Mobile/Telecom", (1_200, 7_500), 3),
    _online(PrimaryCategory.RENT_AND_UTILITIES, "WATER", "Water", (2_000, 6_500), 2),
)


MERCHANT_COUNT = 2_000
"""Merchants of a bank, apart from the rounding of each trade's share."""

_FIRST_HALVES = (
    "Amber Ash Birch Black Blue Bright Clear Copper Elm Fair Fern Gold Green Grey Hazel High Iron Lake Long Maple "
    "Marsh Moor Moss North Oak Red River Rose Sea Silver Star Stone Storm Summer Sun Thorn White Wind Winter Wood"
)
_SECOND_HALVES = (
    "acre barn bridge brook cliff crest ferry field finch ford forge fox gate hare haven heron hill kite lane lark "
    "leaf mere mill otter port ridge stead vale well wick wren"
)
_BRAND_NAMES = tuple(first + second for first in _FIRST_HALVES.split() for second in _SECOND_HALVES.split())
_DESCRIPTOR_LENGTH = 22
_CONFIDENCES = ("VERY_HIGH", "VERY_HIGH", "VERY_HIGH", "HIGH")


@dataclass(frozen=True, slots=True, kw_only=True)
class Payee:
    """A counterparty that the provider recognises.

    Parameters
    ----------
    confidence
        Plaid's `confidence_level` of the recognition.
    """

    entity_id: str
    name: str
    website: str | None
    confidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Merchant(Payee):
    """A fictional merchant.

    Parameters
    ----------
    descriptor
        The name as card terminals print it: in capitals and shortened.
    """

    descriptor: str
    trade: Trade


@dataclass(frozen=True, slots=True)
class MerchantPool:
    """Merchants of several trades, with their cumulative weights for random draws."""

    merchants: tuple[Merchant, ...]
    cumulative_weights: tuple[float, ...]

    @classmethod
    def of(cls, merchants: Sequence[Merchant]) -> Self:
        """Return a pool in which each trade is drawn by its weight, and its merchants evenly."""
        counts_by_trade = Counter(merchant.trade for merchant in merchants)
        return cls(
            tuple(merchants),
            tuple(accumulate(merchant.trade.weight / counts_by_trade[merchant.trade] for merchant in merchants)),
        )

    def pick(self, rng: Random) -> Merchant:
        """Return a random merchant."""
        return rng.choices(self.merchants, cum_weights=self.cumulative_weights)[0]

    def pick_many(self, rng: Random, number: int) -> tuple[Merchant, ...]:
        """Return `number` random merchants, with possible repetitions."""
        return tuple(rng.choices(self.merchants, cum_weights=self.cumulative_weights, k=number))


@dataclass(frozen=True, slots=True)
class Market:
    """All merchants, grouped by how they are paid."""

    shops: MerchantPool
    subscriptions: MerchantPool
    utilities: MerchantPool

    @classmethod
    def of(cls, key: Key) -> Self:
        """Return the market of the bank with this key."""
        rng = key.rng(HashDomain.MERCHANTS)
        ordinals = count()
        total_weight = sum(trade.weight for trade in (*SHOPS, *SUBSCRIPTIONS, *UTILITIES))

        def pool(trades: Sequence[Trade]) -> MerchantPool:
            return MerchantPool.of(
                [
                    _merchant(key, next(ordinals), name, trade, rng)
                    for trade in trades
                    for name in _names(trade, round(MERCHANT_COUNT * trade.weight / total_weight), rng)
                ]
            )

        return cls(shops=pool(SHOPS), subscriptions=pool(SUBSCRIPTIONS), utilities=pool(UTILITIES))


def pick_employer(rng: Random) -> str:
    """Return a random name of a company that pays salaries."""
    return f"{rng.choice(_BRAND_NAMES)} {rng.choice(('Logistics', 'Systems', 'Partners', 'Works', 'Textiles', 'Labs'))}"


def _names(trade: Trade, number: int, rng: Random) -> list[str]:
    indexes = rng.sample(range(len(_BRAND_NAMES) * len(trade.suffixes)), number)
    return [
        f"{_BRAND_NAMES[index // len(trade.suffixes)]} {trade.suffixes[index % len(trade.suffixes)]}"
        for index in indexes
    ]


def _merchant(key: Key, ordinal: int, name: str, trade: Trade, rng: Random) -> Merchant:
    return Merchant(
        entity_id=ids.entity_id(key, ordinal),
        name=name,
        website=f"{name.replace(' ', '').lower()}.example",
        descriptor=_descriptor(name),
        trade=trade,
        confidence=rng.choice(_CONFIDENCES),
    )


def _descriptor(name: str) -> str:
    brand, _, suffix = name.upper().partition(" ")
    return f"{brand} {re.sub('(?<=.)[AEIOU]', '', suffix)}"[:_DESCRIPTOR_LENGTH].rstrip()
