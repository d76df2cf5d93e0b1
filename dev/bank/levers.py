"""Levers that Plaid's sandbox does not have: `/sandbox/day` and `/sandbox/faults`. They change the bank as a whole."""

from dataclasses import replace
from datetime import date, timedelta

from dev.bank.bank import Bank
from dev.bank.errors import InvalidField
from dev.bank.faults import FaultUnknown, RateImpossible
from dev.bank.sandbox_requests import DayTurn, FaultsSwitch

DAY = "/sandbox/day"
FAULTS = "/sandbox/faults"


def turn_day(bank: Bank, request: DayTurn) -> Bank:
    """Return the bank on a later day.

    Raises
    ------
    InvalidField
        If not exactly one of both is said, or if the day would be earlier, or later than there are days.
    """
    if (request.advance is None) == (request.day is None):
        message = 'say either {"advance": <days>} or {"day": "YYYY-MM-DD"}'
        raise InvalidField(message)
    day = request.day or _after(bank.today, request.advance or 0)
    if day < bank.today:
        message = f"day is {day}, before the bank's today, {bank.today}; days never go back"
        raise InvalidField(message)
    return replace(bank, today=day)


def switch_faults(bank: Bank, request: FaultsSwitch) -> None:
    """Switch on the faults that are named, and off all others.

    Raises
    ------
    InvalidField
        If there is no such fault or no such rate.
    """
    try:
        bank.faults.switch(request.faults)
    except (FaultUnknown, RateImpossible) as error:
        raise InvalidField(str(error)) from None


def _after(today: date, days: int) -> date:
    try:
        return today + timedelta(days=days)
    except OverflowError:
        message = f"the calendar ends before {days} days after {today}; advance by less"
        raise InvalidField(message) from None
