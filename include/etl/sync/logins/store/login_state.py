"""States of a login; `provider_accounts` says how it gets from one to another."""

from enum import StrEnum


class LoginState(StrEnum):
    """States of a login, as shown."""

    ACTIVE = "active"
    QUARANTINED = "quarantined"
    NEEDS_LOGIN = "needs_login"
    SUSPENDED = "suspended"
    UNLINKED = "unlinked"
    REPLACED = "replaced"
