"""The sums of the monthly report, against a plain computation of them over random histories."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import chain, groupby
from random import Random
from typing import Any

import pytest

from etl.db.connection import Connection
from etl.db.statements import statement
from etl.sync.history import corrections
from tests.integration.notify.bank_data import add_payment, find_provider_account, set_balance
from tests.integration.notify.notice_harness import NoticeHarness

MONTH = date(2026, 10, 1)
PAIR_DAYS = 4
OWN_DETAILS = {
    "LOAN_PAYMENTS_CREDIT_CARD_PAYMENT",
    "TRANSFER_OUT_SAVINGS",
    "TRANSFER_IN_INVESTMENT_AND_RETIREMENT_FUNDS",
}
CATEGORIES: tuple[tuple[str | None, str | None], ...] = (
    (None, None),
    ("TRANSFER_OUT", "TRANSFER_OUT_ACCOUNT_TRANSFER"),
    ("TRANSFER_IN", "TRANSFER_IN_ACCOUNT_TRANSFER"),
    ("TRANSFER_OUT", "TRANSFER_OUT_SAVINGS"),
    ("TRANSFER_IN", "TRANSFER_IN_INVESTMENT_AND_RETIREMENT_FUNDS"),
    ("LOAN_PAYMENTS", "LOAN_PAYMENTS_CREDIT_CARD_PAYMENT"),
    ("LOAN_PAYMENTS", "LOAN_PAYMENTS_MORTGAGE_PAYMENT"),
    ("INCOME", "INCOME_WAGES"),
    ("The cat", None),
    ("FOOD_AND_DRINK", None),
    *((name, f"{name}_ANY") for name in ("FOOD_AND_DRINK", "TRAVEL", "MEDICAL", "BANK_FEES", "PERSONAL_CARE")),
    *((name, f"{name}_ANY") for name in ("ENTERTAINMENT", "GENERAL_MERCHANDISE", "OTHER")),
)
ACCOUNTS = ("everyday", "savings", "card")


@dataclass(frozen=True)
class Move:
    """A transaction, as the bank reported it and its user corrected it."""

    login: int
    account: str
    number: str
    amount: Decimal
    currency: str | None
    on: date
    category: str | None = None
    detail: str | None = None
    pending: bool = False
    removed: bool = False
    ignored: bool = False

    @property
    def order(self) -> tuple[date, int, str]:
        return self.on, self.login, self.number

    @property
    def counts(self) -> bool:
        return self.currency is not None and not (self.pending or self.removed or self.ignored)

    @property
    def may_be_half(self) -> bool:
        return (
            self.category in (None, "TRANSFER_IN", "TRANSFER_OUT") or self.detail == "LOAN_PAYMENTS_CREDIT_CARD_PAYMENT"
        )

    @property
    def is_own(self) -> bool:
        pays_debt = (
            self.account == "card"
            and self.amount < 0
            and self.category in (None, "TRANSFER_IN", "TRANSFER_OUT", "LOAN_PAYMENTS")
        )
        return self.detail in OWN_DETAILS or pays_debt

    @property
    def is_received(self) -> bool:
        own_words = self.category is None or self.category != self.category.upper()
        return self.category in ("INCOME", "TRANSFER_IN") or (self.amount < 0 and own_words)

    @property
    def shown_category(self) -> str:
        if self.category in (None, "OTHER"):
            return "Other"
        assert self.category
        if self.category == "TRANSFER_OUT":
            return "Transfers and cash"
        return self.category.capitalize().replace("_", " ") if self.category.isupper() else self.category


def pair_halves(moves: list[Move]) -> set[Move]:
    """Return the moves that are halves of a transfer between two accounts."""
    paired: set[Move] = set()
    by_amount = defaultdict(list)
    for move in sorted((each for each in moves if each.may_be_half), key=lambda each: each.order):
        by_amount[move.currency, abs(move.amount)].append(move)
    for same in by_amount.values():
        stretches: list[list[Move]] = []
        for move in same:
            if not stretches or (move.on - stretches[-1][-1].on).days > PAIR_DAYS:
                stretches.append([])
            stretches[-1].append(move)
        for stretch in stretches:
            ways = [[each for each in stretch if (each.amount > 0) is out] for out in (True, False)]
            for out, back in zip(*ways, strict=False):
                apart = (out.login, out.account) != (back.login, back.account)
                if apart and abs((out.on - back.on).days) <= PAIR_DAYS:
                    paired |= {out, back}
    return paired


def months_before(first: date) -> int:
    """Return how many full months before the report's are known, if the first move is of this day."""
    start = first if first.day == 1 else (first.replace(day=1) + timedelta(days=32)).replace(day=1)
    return (MONTH.year - start.year) * 12 + MONTH.month - start.month


def expect(moves: list[Move]) -> list[dict[str, Any]]:
    """Return what the report of a user says, by currency."""
    read_from, read_to = date(2025, 10, 1) - timedelta(PAIR_DAYS), date(2026, 11, 1) + timedelta(PAIR_DAYS)
    known = [each for each in moves if each.counts and read_from <= each.on < read_to]
    paired = pair_halves(known)
    months = months_before(min((each.on for each in known), default=date(2030, 1, 1)))
    reports = []
    for currency in sorted({each.currency or "" for each in known}):
        here = [each for each in known if each.currency == currency]
        own = [each for each in here if each.is_own or each in paired]
        spent = [each for each in here if each not in own and not each.is_received]
        received = [each for each in here if each not in own and each.is_received]
        now = [each for each in here if each.on.replace(day=1) == MONTH]
        if not now:
            continue
        spent_now = [each for each in spent if each in now]
        first = date(MONTH.year + (MONTH.month - 1 - months) // 12, (MONTH.month - 1 - months) % 12 + 1, 1)
        earlier = sum(each.amount for each in spent if first <= each.on < MONTH)
        reports.append(
            {
                "currency": currency,
                "payments": sum(each.amount > 0 for each in spent_now),
                "spent": sum((each.amount for each in spent_now), Decimal()),
                "received": -sum((each.amount for each in received if each in now), Decimal()),
                "own": sum((each.amount for each in own if each in now and each.amount > 0), Decimal()) or None,
                "previous": sum(
                    (each.amount for each in spent if each.on.replace(day=1) == date(2026, 9, 1)), Decimal()
                )
                if months >= 1
                else None,
                "average": round(Decimal(earlier) / months, 8) if months >= 3 else None,
                "categories": sum_categories(spent_now),
                "largest": sorted((each.amount for each in spent_now if each.amount > 0), reverse=True)[:5],
            }
        )
    return sorted(reports, key=lambda each: (-int(each["payments"]), each["currency"]))


def sum_categories(moves: list[Move]) -> list[tuple[str, Decimal]]:
    ordered = sorted(moves, key=lambda each: each.shown_category)
    sums = {
        name: sum(each.amount for each in group) for name, group in groupby(ordered, lambda each: each.shown_category)
    }
    names = sorted(sums, key=lambda name: (name == "Other", -sums[name], name))
    shown: dict[str, Decimal] = defaultdict(Decimal)
    for place, name in enumerate(names):
        shown[name if place < 7 else "Other"] += sums[name]
    return sorted(
        ((name, amount) for name, amount in shown.items() if amount),
        key=lambda each: (each[0] == "Other", -each[1], each[0]),
    )


def report(db: Connection) -> dict[int, list[dict[str, Any]]]:
    """Return what the report says, in the form of `expect`, by user."""
    values = {"period": "2026-10", "as_of": datetime.now(UTC), "after": 0, "stop": 2**60, "limit": 100}
    return {
        row["user_id"]: [
            {
                **{name: each[name] for name in ("currency", "payments")},
                **{name: each[name] and Decimal(each[name]) for name in ("spent", "received", "own", "previous")},
                "average": each["average"] and round(Decimal(each["average"]), 8),
                "categories": [(part["name"], Decimal(part["amount"])) for part in each["categories"]],
                "largest": [Decimal(payment["amount"]) for payment in each["largest"]],
            }
            for each in row["currencies"]
        ]
        for row in statement("notices/monthly_report", "recipients").dicts(db, values)
    }


def random_moves(rng: Random, logins: list[int], *, first: date) -> list[Move]:
    moves = []
    for number in range(rng.randrange(250, 400)):
        category, detail = rng.choice(CATEGORIES)
        moves.append(
            Move(
                rng.choice(logins),
                rng.choice(ACCOUNTS),
                f"t{number}",
                Decimal(rng.choice(("5", "10", "10", "25.5", "99.99"))) * rng.choice((1, 1, -1)),
                rng.choice(("USD", "USD", "EUR", None)),
                first + timedelta(rng.randrange((date(2026, 11, 9) - first).days)),
                category,
                detail,
                pending=rng.random() < 0.05,
                removed=rng.random() < 0.05,
                ignored=rng.random() < 0.05,
            )
        )
    return moves


def store(db: Connection, moves: list[Move]) -> None:
    """Store moves, and the corrections of those that are ignored."""
    with db.transaction(), db.cursor() as cursor:
        cursor.executemany(
            "insert into core.transactions (provider_account_id, account_id, transaction_id, amount, currency, "
            "unofficial_currency, dated_on, category, category_detail, pending, removed_at, observed_at, raw_id) "
            "values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, now(), (select max(raw_id) from etl.raw_batches))",
            [
                (
                    *(each.login, each.account, each.number, each.amount, each.currency),
                    *(None if each.currency else "DOGE", each.on, each.category, each.detail, each.pending),
                    datetime.now(UTC) if each.removed else None,
                )
                for each in moves
            ],
        )
        cursor.executemany(
            "insert into core.corrections (provider_account_id, transaction_id, is_ignored, corrected_by) "
            "values (%s, %s, true, 'ann')",
            [(each.login, each.number) for each in moves if each.ignored],
        )


@pytest.fixture
def logins(post: NoticeHarness, db: Connection) -> list[list[int]]:
    """Return the two logins of each of three users, each with a card."""
    users = post.enrol(3)
    with db.transaction():
        db.execute(
            "insert into core.provider_accounts (user_id, provider, item_id, access_token, state) "
            "select u, 'plaid', 'second ' || u, '', 'needs_login' from unnest(%s::bigint[]) as u",
            (users,),
        )
    query = "select array_agg(provider_account_id) from core.provider_accounts group by user_id order by user_id"
    by_user = [ids for (ids,) in db.execute(query)]
    for login in chain.from_iterable(by_user):
        set_balance(db, login, None, kind="credit", account="card")
    return by_user


@pytest.mark.parametrize("seed", range(2))
def test_the_report_agrees_with_a_plain_computation(db: Connection, logins: list[list[int]], seed: int) -> None:
    rng = Random(seed)
    firsts = (date(2025, 9, 1), date(2026, 3, 17), date(2026, 8, 20))
    histories = [random_moves(rng, mine, first=first) for mine, first in zip(logins, firsts, strict=True)]
    store(db, list(chain.from_iterable(histories)))
    reports = report(db)
    assert len(reports) == 3
    for history, found in zip(histories, reports.values(), strict=True):
        assert found == expect(history)
    assert any(each["own"] and each["average"] for found in reports.values() for each in found)


@pytest.mark.parametrize(
    ("days", "account", "spent"),
    [(4, "savings", 0), (5, "savings", 100), (0, "everyday", 100)],
    ids=["within four days", "too late", "same account"],
)
def test_a_transfer_is_the_users_own_if_its_other_half_is_in_another_account_of_theirs_within_four_days(
    db: Connection, logins: list[list[int]], days: int, account: str, spent: int
) -> None:
    (login, other), *_ = logins
    out = Move(login, "everyday", "out", Decimal(100), "USD", date(2026, 10, 28), "TRANSFER_OUT", "TRANSFER_OUT_ANY")
    back = replace(out, account=account, number="in", amount=-out.amount, on=out.on + timedelta(days), category=None)
    store(db, [out, back if account == "everyday" else replace(back, login=other)])
    (found,) = report(db)[next(iter(report(db)))]
    assert found["spent"] == spent


def test_a_refund_reduces_its_category_and_no_other_and_a_category_of_the_user_outranks_the_banks(
    db: Connection, logins: list[list[int]]
) -> None:
    (login, _), *_ = logins
    food = Move(login, "everyday", "1", Decimal(30), "USD", MONTH, "FOOD_AND_DRINK", "FOOD_AND_DRINK_COFFEE")
    cat = replace(food, number="3", amount=Decimal("9.99"))
    store(db, [food, replace(food, number="2", amount=Decimal("-12.5"), account="card"), cat])
    corrections.correct(db, login, "3", values={"category": "The cat"}, corrected_by="ann")
    (found,) = next(iter(report(db).values()))
    assert found["categories"] == [("Food and drink", Decimal("17.5")), ("The cat", Decimal("9.99"))]
    assert (found["spent"], found["received"]) == (Decimal("27.49"), 0)


def test_a_bank_that_waits_for_its_user_is_named_with_the_day_since_when_it_is_missing(
    post: NoticeHarness, db: Connection
) -> None:
    user, healthy = post.enrol(2)
    add_payment(db, find_provider_account(db, user), "5", on=MONTH)
    db.execute(
        "update core.provider_accounts set state = 'needs_login', state_since = '2026-10-12T23:30Z', "
        "institution_name = 'First Bank' where user_id = %s",
        (user,),
    )
    post.send_all(period="2026-10", parameters={"link": "https://bank.example/reconnect"})
    mail = next(each.parts for each in post.mailbox.arrived if each.address.startswith(f"user{user}@"))
    assert "First Bank has sent us nothing since 12 October 2026" in mail["text"]
    assert "5.00 USD" in mail["text"]
    assert "Reconnect your bank: https://bank.example/reconnect" in mail["text"]
    assert mail["html"].count('href="https://bank.example/reconnect"') == 1
    other = next(each.parts for each in post.mailbox.arrived if each.address.startswith(f"user{healthy}@"))
    assert "econnect" not in other["text"] + other["html"]
