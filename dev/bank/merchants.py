"""The merchants that the bank's customers pay: a fixed pool, drawn once from the seed."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, count
from random import Random
from typing import Self

from dev.bank import ids
from dev.bank.keys import Domain, Key
from dev.bank.trades import SHOPS, SUBSCRIPTIONS, UTILITIES, Trade

POOL = 2_000
"""Merchants a bank has, give or take the rounding of each trade's share."""

_FIRST_HALVES = (
    "Amber Ash Birch Black Blue Bright Clear Copper Elm Fair Fern Gold Green Grey Hazel High Iron Lake Long Maple "
    "Marsh Moor Moss North Oak Red River Rose Sea Silver Star Stone Storm Summer Sun Thorn White Wind Winter Wood"
)
_SECOND_HALVES = (
    "acre barn bridge brook cliff crest ferry field finch ford forge fox gate hare haven heron hill kite lane lark "
    "leaf mere mill otter port ridge stead vale well wick wren"
)
_BRANDS = tuple(first + second for first in _FIRST_HALVES.split() for second in _SECOND_HALVES.split())
_DESCRIPTOR_LENGTH = 22
_CONFIDENCES = ("VERY_HIGH", "VERY_HIGH", "VERY_HIGH", "HIGH")


@dataclass(frozen=True, slots=True, kw_only=True)
class Payee:
    """Someone whom the provider recognises.

    Parameters
    ----------
    confidence
        How sure the provider is of that.
    """

    entity_id: str
    name: str
    website: str | None
    confidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Merchant(Payee):
    """Someone who sells, of the bank's own invention.

    Parameters
    ----------
    descriptor
        What card terminals make of the name: capitals, words cut short.
    """

    descriptor: str
    trade: Trade


@dataclass(frozen=True, slots=True)
class Pool:
    """Merchants of several trades, and the running sums by which one is drawn."""

    merchants: tuple[Merchant, ...]
    shares: tuple[float, ...]

    @classmethod
    def of(cls, merchants: Sequence[Merchant]) -> Self:
        """Return a pool in which each trade is drawn by its weight, and its merchants evenly."""
        rivals = Counter(merchant.trade for merchant in merchants)
        return cls(
            tuple(merchants),
            tuple(accumulate(merchant.trade.weight / rivals[merchant.trade] for merchant in merchants)),
        )

    def pick(self, rng: Random) -> Merchant:
        """Return one merchant."""
        return rng.choices(self.merchants, cum_weights=self.shares)[0]

    def pick_many(self, rng: Random, number: int) -> tuple[Merchant, ...]:
        """Return `number` merchants, some of them perhaps twice."""
        return tuple(rng.choices(self.merchants, cum_weights=self.shares, k=number))


@dataclass(frozen=True, slots=True)
class Market:
    """All merchants, by how they are paid."""

    shops: Pool
    subscriptions: Pool
    utilities: Pool

    @classmethod
    def of(cls, key: Key) -> Self:
        """Return the market of the bank that `key` belongs to."""
        rng = key.rng(Domain.MERCHANTS)
        ordinals = count()
        heaviness = sum(trade.weight for trade in (*SHOPS, *SUBSCRIPTIONS, *UTILITIES))

        def pool(trades: Sequence[Trade]) -> Pool:
            return Pool.of(
                [
                    _merchant(key, next(ordinals), name, trade, rng)
                    for trade in trades
                    for name in _names(trade, round(POOL * trade.weight / heaviness), rng)
                ]
            )

        return cls(shops=pool(SHOPS), subscriptions=pool(SUBSCRIPTIONS), utilities=pool(UTILITIES))


def employer(rng: Random) -> str:
    """Return the name of a company that pays salaries."""
    return f"{rng.choice(_BRANDS)} {rng.choice(('Logistics', 'Systems', 'Partners', 'Works', 'Textiles', 'Labs'))}"


def _names(trade: Trade, number: int, rng: Random) -> list[str]:
    drawn = rng.sample(range(len(_BRANDS) * len(trade.suffixes)), number)
    return [f"{_BRANDS[each // len(trade.suffixes)]} {trade.suffixes[each % len(trade.suffixes)]}" for each in drawn]


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
