"""The fictional institutions that items belong to. Those of the United States have ids of Plaid's own sandbox."""

from dataclasses import dataclass
from random import Random

from dev.bank.world.currencies import BGN, EUR, GBP, JPY, KWD, USD, Currency


@dataclass(frozen=True, slots=True)
class Institution:
    """A fictional financial institution.

    Parameters
    ----------
    country
        ISO 3166-1 alpha-2.
    weight
        Its share of all items, relative to the other institutions'.
    savings_currency
        Currency of its savings accounts, if it differs from that of its other accounts.
    sends_transaction_codes
        Whether it sends transaction codes and times of day, as European banks do.
    sends_persistent_ids
        Whether its deposit accounts have an id that stays when the login is linked again.
    sends_balance_times
        Whether it says as of when its balances are.
    """

    institution_id: str
    name: str
    country: str
    currency: Currency
    weight: int
    cities: tuple[str, ...]
    savings_currency: Currency | None = None
    sends_transaction_codes: bool = False
    sends_persistent_ids: bool = False
    sends_balance_times: bool = False


_US = ("Portland", "Austin", "Columbus", "Denver", "Raleigh", "Tucson", "Omaha", "Madison")
_GB = ("London", "Leeds", "Bristol", "Glasgow", "Norwich", "Cardiff", "York")

INSTITUTIONS = (
    Institution("ins_109508", "Finch & Harbour Bank", "US", USD, 5, _US),
    Institution("ins_109509", "Prairie Lantern Credit Union", "US", USD, 3, _US, sends_persistent_ids=True),
    Institution("ins_109510", "Copperline Federal Savings", "US", USD, 2, _US, sends_balance_times=True),
    Institution("ins_900101", "Thistledown Bank", "GB", GBP, 4, _GB, sends_transaction_codes=True),
    Institution("ins_900102", "Old Quay Building Society", "GB", GBP, 2, _GB, sends_transaction_codes=True),
    Institution(
        "ins_900103", "Meridian Crossing", "GB", GBP, 1, _GB, savings_currency=EUR, sends_transaction_codes=True
    ),
    Institution(
        "ins_900201",
        "Caisse des Deux Rives",
        "FR",
        EUR,
        2,
        ("Lyon", "Nantes", "Lille", "Dijon"),
        sends_transaction_codes=True,
    ),
    Institution(
        "ins_900202",
        "Lindenhof Sparbank",
        "DE",
        EUR,
        2,
        ("Bremen", "Leipzig", "Ulm", "Kassel"),
        sends_transaction_codes=True,
    ),
    Institution("ins_900301", "Hinoki Mutual Bank", "JP", JPY, 1, ("Osaka", "Sendai", "Nagoya", "Kobe")),
    Institution("ins_900401", "Dhow Gulf Bank", "KW", KWD, 1, ("Kuwait City", "Hawalli", "Salmiya")),
)

PURCHASE_CARD_INSTITUTION = Institution("ins_900901", "Town Hall Purchase Cards", "GB", GBP, 0, ("Birmingham",))
"""The institution of all items of real purchases."""

BULGARIAN_INSTITUTION = Institution("ins_900501", "Rila Spestovna Kasa", "BG", BGN, 0, ("Sofia", "Varna", "Ruse"))
"""The institution of items whose accounts are in leva."""

_WEIGHTS = tuple(institution.weight for institution in INSTITUTIONS)
_IDS = frozenset(institution.institution_id for institution in INSTITUTIONS)


def pick(rng: Random) -> Institution:
    """Return a random institution, drawn by weight."""
    return rng.choices(INSTITUTIONS, _WEIGHTS)[0]


def exists(institution_id: str) -> bool:
    """Return whether an institution has this id."""
    return institution_id in _IDS
