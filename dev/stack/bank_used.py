"""What the sandbox bank of a home serves: what it served before, or else what the caller's environment names."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path

from dev.servers import bank, purchases
from dev.servers.bank import Sandbox
from dev.servers.errors import BankServesOthers, PurchasesLost, PurchasesRefused
from dev.servers.purchases import Purchases
from dev.stack.home import UNWRITABLE, Home

CSV = "SANDBOX_CSV"
"""Variable of the caller: the file of real purchases that a new bank serves in place of invented ones."""


def decide(home: Home, *, caller: Mapping[str, str], today: date, advance: int) -> Sandbox:
    """Return the bank of a home; a home never changes from one bank's customers to another's.

    Parameters
    ----------
    home
        What it served before is remembered there.
    caller
        The caller's environment.
    today
        The day of a bank that is new.
    advance
        Days by which a bank that is not new is advanced.

    Raises
    ------
    PurchasesRefused
        If the file that the caller names cannot be served.
    BankServesOthers
        If the home's bank serves other customers than the caller asks for.
    PurchasesLost
        If it serves a file that is no longer what it was.
    """
    named = _named(caller)
    before = bank.remembered(home.bank)
    if before is None:
        return replace(bank.founded_on(today), purchases=purchases.examine(named) if named else None)
    return bank.advanced(replace(before, purchases=_still(home, before.purchases, named)), advance)


def _named(caller: Mapping[str, str]) -> Path | None:
    text = caller.get(CSV, "").strip()
    if not text:
        return None
    path = Path(text).expanduser().resolve()
    if any(part in str(path) for part in UNWRITABLE):
        raise PurchasesRefused(path, "its name holds a `%`, a line break, a tab, or a blank before `#` or `;`")
    return path


def _still(home: Home, before: Purchases | None, named: Path | None) -> Purchases | None:
    """Return the purchases that a bank served before, wherever the file is now."""
    digest = purchases.digest(named) if named else None
    if before is None:
        if named:
            raise BankServesOthers(home.folder, "invented customers", asked=named)
        return None
    if named and digest == before.digest:
        return replace(before, path=named)
    if named and named != before.path:
        raise BankServesOthers(home.folder, f"the purchases of {before.path}", asked=named)
    try:
        digest = purchases.digest(before.path)
    except PurchasesRefused as refused:
        raise PurchasesLost(home.folder, before.path, refused.found) from None
    if digest != before.digest:
        raise PurchasesLost(home.folder, before.path, "it holds others now")
    return before
