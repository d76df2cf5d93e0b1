"""Those of Plaid's personal finance categories (taxonomy v1) that the bank uses, and payment channels."""

from dataclasses import dataclass
from enum import Enum
from typing import Self


class PrimaryCategory(Enum):
    """Those of Plaid's primary categories that the bank uses."""

    INCOME = "INCOME"
    TRANSFER_IN = "TRANSFER_IN"
    TRANSFER_OUT = "TRANSFER_OUT"
    LOAN_PAYMENTS = "LOAN_PAYMENTS"
    BANK_FEES = "BANK_FEES"
    ENTERTAINMENT = "ENTERTAINMENT"
    FOOD_AND_DRINK = "FOOD_AND_DRINK"
    GENERAL_MERCHANDISE = "GENERAL_MERCHANDISE"
    HOME_IMPROVEMENT = "HOME_IMPROVEMENT"
    MEDICAL = "MEDICAL"
    PERSONAL_CARE = "PERSONAL_CARE"
    GENERAL_SERVICES = "GENERAL_SERVICES"
    TRANSPORTATION = "TRANSPORTATION"
    TRAVEL = "TRAVEL"
    RENT_AND_UTILITIES = "RENT_AND_UTILITIES"


class PaymentChannel(Enum):
    """How a payment was made; the value is Plaid's payment channel."""

    ONLINE = "online"
    IN_STORE = "in store"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Category:
    """A personal finance category."""

    primary: PrimaryCategory
    detailed: str

    @classmethod
    def of(cls, primary: PrimaryCategory, detail: str) -> Self:
        """Return a category; `INCOME` and `WAGES`, for example, give Plaid's `INCOME` and `INCOME_WAGES`."""
        return cls(primary, f"{primary.value}_{detail}")


SALARY = Category.of(PrimaryCategory.INCOME, "WAGES")
INTEREST = Category.of(PrimaryCategory.INCOME, "INTEREST_EARNED")
TRANSFER_IN = Category.of(PrimaryCategory.TRANSFER_IN, "ACCOUNT_TRANSFER")
TRANSFER_OUT = Category.of(PrimaryCategory.TRANSFER_OUT, "ACCOUNT_TRANSFER")
SAVINGS_TRANSFER = Category.of(PrimaryCategory.TRANSFER_OUT, "SAVINGS")
CASH_WITHDRAWAL = Category.of(PrimaryCategory.TRANSFER_OUT, "WITHDRAWAL")
CARD_PAYMENT = Category.of(PrimaryCategory.LOAN_PAYMENTS, "CREDIT_CARD_PAYMENT")
ACCOUNT_FEE = Category.of(PrimaryCategory.BANK_FEES, "OTHER_BANK_FEES")
RENT = Category.of(PrimaryCategory.RENT_AND_UTILITIES, "RENT")
UNCATEGORISED = Category.of(PrimaryCategory.GENERAL_MERCHANDISE, "OTHER_GENERAL_MERCHANDISE")
