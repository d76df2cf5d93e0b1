"""Endpoints of institutions, agreements and requisitions, by which a client gets access to accounts."""

from datetime import date
from typing import Any
from uuid import UUID, uuid4

from msgspec.structs import replace

from dev.bank.bank import Bank
from dev.bank.changes import Access, AccessChanged, Agreement, Requisition
from dev.bank.gocardless import errors, records
from dev.bank.gocardless.accounts import SCOPES
from dev.bank.world.institutions import INSTITUTIONS, Institution

MAX_DAYS = 730
"""History that an institution has, in days."""

MAX_ACCESS_DAYS = 180
"""Longest validity of an agreement, in days."""

DEFAULT_DAYS = 90

BY_ID = {records.institution_id(each): each for each in INSTITUTIONS}

Fields = dict[str, Any]


def institution(found: Institution) -> Fields:
    """Return an institution as it is sent."""
    return {
        "id": records.institution_id(found),
        "name": found.name,
        "bic": f"SAND{found.country}2X",
        "transaction_total_days": str(MAX_DAYS),
        "countries": [found.country],
        "logo": f"https://logos.bank.example/{found.institution_id}.png",
        "max_access_valid_for_days": str(MAX_ACCESS_DAYS),
    }


def list_institutions(country: str | None) -> list[Fields]:
    """Return the institutions of a country, of all without one.

    Raises
    ------
    GoCardlessError
        If there is no institution in this country.
    """
    countries = {each.country for each in INSTITUTIONS}
    if country is not None and country.upper() not in countries:
        raise errors.GoCardlessError(400, "Invalid country choice.", f"{country} is not a valid choice.")
    return [institution(each) for each in INSTITUTIONS if country is None or each.country == country.upper()]


def find_institution(institution_id: str) -> Institution:
    """Return an institution by its id.

    Raises
    ------
    GoCardlessError
        If there is none.
    """
    if institution_id not in BY_ID:
        raise errors.not_found()
    return BY_ID[institution_id]


def create_agreement(bank: Bank, fields: Fields) -> Agreement:
    """Record an agreement that a user may accept.

    Raises
    ------
    GoCardlessError
        If a field is missing, unknown or out of its range.
    """
    allowed = {"institution_id", "max_historical_days", "access_valid_for_days", "access_scope", "reconfirmation"}
    _require_known(fields, allowed)
    if "institution_id" not in fields:
        raise errors.required("institution_id")
    _require_institution(fields["institution_id"])
    history = _days(fields, "max_historical_days", MAX_DAYS, f"{fields['institution_id']} transaction_total_days ")
    validity = _days(fields, "access_valid_for_days", MAX_ACCESS_DAYS, "")
    scope = fields.get("access_scope", list(SCOPES))
    for each in scope if isinstance(scope, list) else [scope]:
        if each not in SCOPES:
            summary = f"Unknown value '{each}' in access_scope"
            raise errors.FieldErrors(
                {"access_scope": [{"summary": summary, "detail": f"Choose one or several from {list(SCOPES)}"}]}
            )
    agreement = Agreement(
        agreement_id=str(uuid4()),
        institution_id=fields["institution_id"],
        max_historical_days=history,
        access_valid_for_days=validity,
        access_scope=list(scope),
        created_on=bank.today,
    )
    bank.changes.record(agreement)
    return agreement


def find_agreement(bank: Bank, agreement_id: str) -> Agreement:
    """Return an agreement; raise if there is none."""
    found = bank.changes.agreement(agreement_id)
    if found is None:
        raise errors.not_found()
    return found


def agreement(found: Agreement) -> Fields:
    """Return an agreement as it is sent."""
    return {
        "id": found.agreement_id,
        "created": _instant(found.created_on),
        "institution_id": found.institution_id,
        "max_historical_days": found.max_historical_days,
        "access_valid_for_days": found.access_valid_for_days,
        "access_scope": found.access_scope,
        "accepted": None if found.accepted_on is None else _instant(found.accepted_on),
        "reconfirmation": False,
    }


def create_requisition(bank: Bank, fields: Fields) -> Requisition:
    """Record a requisition, with an agreement of its own if it names none.

    Raises
    ------
    GoCardlessError
        If a field is missing, unknown or wrong.
    """
    optional = {"agreement", "reference", "user_language", "ssn", "account_selection", "redirect_immediate"}
    _require_known(fields, {"redirect", "institution_id", *optional})
    if missing := [name for name in ("redirect", "institution_id") if not fields.get(name)]:
        raise errors.required(*missing)
    _require_institution(fields["institution_id"])
    if not str(fields["redirect"]).startswith(("http://", "https://")):
        wrong = {"summary": "Invalid redirect URI", "detail": "Redirect URI must have a valid URI structure"}
        raise errors.FieldErrors({"redirect": [wrong]})
    agreement_id = fields.get("agreement")
    if agreement_id is None:
        agreement_id = create_agreement(bank, {"institution_id": fields["institution_id"]}).agreement_id
    elif bank.changes.agreement(agreement_id) is None:
        detail = "Please check whether you specified a valid ID"
        raise errors.FieldErrors(
            {"agreement": {"summary": f"ID {agreement_id} not found", "detail": detail}}, status=404
        )
    requisition_id = str(uuid4())
    requisition = Requisition(
        requisition_id=requisition_id,
        institution_id=fields["institution_id"],
        agreement_id=agreement_id,
        redirect=fields["redirect"],
        reference=fields.get("reference") or requisition_id,
        created_on=bank.today,
    )
    bank.changes.record(requisition)
    return requisition


def find_requisition(bank: Bank, requisition_id: str) -> Requisition:
    """Return a requisition; raise if there is none."""
    found = bank.changes.requisition(requisition_id)
    if found is None:
        raise errors.not_found()
    return found


def requisition(bank: Bank, found: Requisition, base_url: str) -> Fields:
    """Return a requisition as it is sent."""
    agreed = bank.changes.agreement(found.agreement_id)
    is_expired = agreed is not None and agreed.has_expired(bank.today)
    return {
        "id": found.requisition_id,
        "created": _instant(found.created_on),
        "redirect": found.redirect,
        "status": "CR" if found.item is None else "EX" if is_expired else "LN",
        "institution_id": found.institution_id,
        "agreement": found.agreement_id,
        "reference": found.reference,
        "accounts": found.accounts,
        "user_language": "EN",
        "link": f"{base_url}gocardless/psd2/start/{found.requisition_id}/{found.institution_id}",
        "ssn": None,
        "account_selection": False,
        "redirect_immediate": False,
    }


def delete_requisition(bank: Bank, found: Requisition) -> Fields:
    """Give up a requisition, and the access to its accounts."""
    bank.changes.record(replace(found, is_deleted=True))
    detail = f"Requisition {found.requisition_id} deleted with all its End User Agreements"
    return {"summary": "Requisition deleted", "detail": detail}


def grant(bank: Bank, found: Requisition, number: int) -> Requisition:
    """Let the user of item `number` accept the agreement and grant all accounts; what made them unreadable ends."""
    agreed = find_agreement(bank, found.agreement_id)
    item = bank.ledger(number).item
    bank.changes.record(replace(agreed, accepted_on=bank.today))
    accounts = [records.account_id(bank.key, item, account) for account in item.accounts]
    granted = replace(found, item=number, accounts=accounts)
    bank.changes.record(granted)
    if bank.changes.access(number) is Access.LOCKED:
        bank.changes.record(AccessChanged(number, Access.OPEN))
    bank.faults.restore_item(number)
    return granted


def require_uuid(text: str) -> str:
    """Return an id; raise if it is none."""
    try:
        return str(UUID(text))
    except ValueError:
        raise errors.not_found() from None


def _require_known(fields: Fields, allowed: set[str]) -> None:
    if unknown := set(fields) - allowed:
        raise errors.unknown_fields(sorted(unknown), "payload")


def _require_institution(institution_id: object) -> None:
    if institution_id not in BY_ID:
        wrong = {
            "summary": f"Unknown Institution ID {institution_id}",
            "detail": "Get Institution IDs from /institutions/?country={$COUNTRY_CODE}",
        }
        raise errors.FieldErrors({"institution_id": wrong})


def _days(fields: Fields, name: str, maximum: int, limit: str) -> int:
    days = fields.get(name, DEFAULT_DAYS)
    if not isinstance(days, int) or not 0 < days <= maximum:
        detail = f"{name} must be > 0 and <= {limit}({maximum})" if limit else f"{name} must be > 0 and <= {maximum}"
        raise errors.FieldErrors({name: [{"summary": f"Incorrect {name}", "detail": detail}]})
    return days


def _instant(day: date) -> str:
    return f"{day}T00:00:00Z"
