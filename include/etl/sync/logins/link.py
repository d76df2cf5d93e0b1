"""Enrolment of a user's login at a bank as a provider account, and the end of it."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import timedelta

from etl.clients.rate_limits import Limiter
from etl.db.connection import Connection
from etl.declare.entity import Entity
from etl.declare.provider import ErrorAction, Provider
from etl.errors import PermanentError, ProviderRefused, TransientError
from etl.settings import Endpoint
from etl.sync.logins import relink
from etl.sync.logins.keys import require_keys
from etl.sync.logins.provider_tokens import ProviderTokens
from etl.sync.logins.store import logins, provider_accounts
from etl.sync.logins.store.login_state import LoginState
from etl.sync.logins.store.logins import LinkedLogin
from etl.sync.logins.store.replaced_accounts import LinkedAccount
from etl.sync.logins.store.token_cipher import TokenCipher
from etl.sync.provider.client import ProviderCallFailed, ProviderClient, open_client
from etl.sync.provider.enrolment import (
    Grant,
    GrantedItem,
    exchange_public_token,
    find_institution,
    give_up_access,
)

INSTITUTION_TIMEOUT = timedelta(seconds=10)
"""Longest time to ask for the bank of a new login, with all retries."""

log = logging.getLogger(__name__)


class EnrolmentFailed(TransientError):
    """A provider returned no access token; a retry may succeed."""

    def __init__(self, provider: str, detail: str) -> None:
        super().__init__(f"{provider} returned no access token: {detail}; try again while the public token is valid.")


class PublicTokenRefused(PermanentError):
    """A provider does not accept a public token, or not any more."""

    def __init__(self, provider: str, code: str) -> None:
        super().__init__(
            f"{provider} does not accept the public token ({code}): it is not valid any more, or was used before. If "
            "not by you, somebody else may have the access: let its user disable it there, and make a new token."
        )


class UnlinkFailed(PermanentError):
    """A provider did not give up the access to a login."""

    def __init__(self, provider: str, provider_account_id: int, detail: str) -> None:
        super().__init__(
            f"login {provider_account_id}: {provider} did not unlink it: {detail}; it keeps its token. Try again, or "
            f"stop it with `sluice logins stop {provider_account_id}`."
        )


class LinkedMeanwhile(PermanentError):
    """A login was linked again while it was being unlinked."""

    def __init__(self, provider_account_id: int) -> None:
        super().__init__(
            f"login {provider_account_id} was linked again while it was being unlinked, and keeps its new token; "
            "unlink it again if that is what you want."
        )


def enrol_login(
    provider: Provider,
    public_token: str,
    *,
    user: str,
    db: Connection,
    cipher: TokenCipher,
    endpoint: Endpoint,
    limiter: Limiter,
    history: timedelta | None = None,
    accounts: Entity | None = None,
) -> int:
    """Enrol what a public token stands for, as `enrol_logins` does, and return the first provider account id."""
    linking = Linking(provider, user, db, cipher, endpoint, limiter, history, accounts)
    return enrol_logins(linking, public_token)[0]


@dataclass(frozen=True)
class Linking:
    """What is needed to link logins of a user.

    Parameters
    ----------
    provider
        The provider.
    user
        The user's id in the application that Sluice serves.
    db, cipher, endpoint, limiter
        The warehouse, the keys, the provider's address and client credentials, and the shared rate limits.
    history
        How far back the provider promises to send records of a new login; None if unknown.
    accounts
        The entity whose snapshot lists the accounts of a login; None to replace no earlier login.
    """

    provider: Provider
    user: str
    db: Connection
    cipher: TokenCipher
    endpoint: Endpoint
    limiter: Limiter
    history: timedelta | None = None
    accounts: Entity | None = None

    def open_client(self) -> AbstractAsyncContextManager[ProviderClient]:
        """Return a client of the provider."""
        return open_client(self.provider, self.endpoint, self.limiter, tokens=ProviderTokens(self.db, self.cipher))


def enrol_logins(linking: Linking, public_token: str, *, item_id: str = "") -> list[int]:
    """Exchange a public token, store the logins that it stands for, and return their provider account ids.

    Access tokens are stored encrypted, before the banks are asked for, so that no token is lost; if the provider does
    not tell, a login is linked without its bank. Earlier logins of the user at the same bank are replaced if later ones
    have all their open accounts; of one that has others, only the accounts that are the same. If the provider does not
    list the accounts of a login now, that is found when they are first loaded. An earlier login that is linked again
    replaces those that had replaced it.

    Parameters
    ----------
    item_id
        Id of the login, where the provider names none: that of a login that is linked again. Empty for a new one.

    Raises
    ------
    EnrolmentFailed
        If the provider could not be reached.
    PublicTokenRefused
        If the provider does not accept the token.
    ProviderRefused
        If its response is not covered by any rule.
    ItemOfOtherUser
        If a login is enrolled for another user.
    WrongKeys
        If none of the keys is that of the warehouse; the public token is not used up then.
    """
    require_keys(linking.db, linking.cipher)

    async def exchange() -> Grant:
        async with linking.open_client() as client:
            try:
                return await exchange_public_token(client, public_token)
            except ProviderCallFailed as failure:
                if failure.action is ErrorAction.STOP_ACCOUNT:
                    raise PublicTokenRefused(linking.provider.name, failure.code) from None
                raise EnrolmentFailed(linking.provider.name, failure.code) from None

    grant = asyncio.run(exchange())
    items = [replace(item, item_id=item_id or item.item_id) for item in grant.items]
    return enrol_items(linking, items, valid_days=grant.valid_days)


def enrol_items(linking: Linking, items: Sequence[GrantedItem], *, valid_days: int | None = None) -> list[int]:
    """Store logins whose access is granted already, and return their provider account ids; see `enrol_logins`.

    Parameters
    ----------
    valid_days
        Days for which the user's consent is valid; None for those that the provider declares, if it does.

    Raises
    ------
    ItemOfOtherUser
        If a login is enrolled for another user.
    WrongKeys
        If none of the keys is that of the warehouse.
    """
    require_keys(linking.db, linking.cipher)
    history_days = None if linking.history is None else linking.history.days
    consent = linking.provider.consent
    lifetime = timedelta(days=valid_days) if valid_days is not None else consent.lifetime if consent else None
    enrolled: list[int] = []
    for item in items:
        provider_account_id = provider_accounts.enrol(
            linking.db,
            linking.cipher,
            provider=linking.provider.name,
            user=linking.user,
            item_id=item.item_id,
            access_token=item.access_token,
            history_days=history_days,
        )
        provider_accounts.set_consent(linking.db, provider_account_id, lifetime=lifetime)
        enrolled.append(provider_account_id)
        log.info("%s: enrolled provider account %d", linking.provider.name, provider_account_id)
    for provider_account_id, item in zip(enrolled, items, strict=True):
        _find_bank(linking, provider_account_id, item)
    return enrolled


def _find_bank(linking: Linking, provider_account_id: int, item: GrantedItem) -> None:
    """Ask for the bank of a new login, and let it replace earlier logins with the same accounts."""

    async def ask() -> list[LinkedAccount]:
        async with linking.open_client() as client, asyncio.timeout(INSTITUTION_TIMEOUT.total_seconds()):
            institution = await find_institution(client, item)
            # At once, so that it is known even if the accounts are not.
            provider_accounts.set_institution(
                linking.db,
                provider_account_id,
                institution_id=institution.institution_id,
                institution_name=institution.name,
            )
            if linking.accounts is None:
                return []
            reader = relink.reader(client, linking.accounts, provider_account_id=provider_account_id, item=item)
            return await relink.read_accounts(reader, linking.accounts)

    try:
        relink.replace_earlier_logins(asyncio.run(ask()), db=linking.db)
    except (ProviderCallFailed, ProviderRefused, TimeoutError) as error:
        log.warning(
            "%s: the bank or the accounts of provider account %d are not known yet: %s; if its user linked the same "
            "accounts before, their money may count twice until its accounts and then its transactions are loaded",
            linking.provider.name,
            provider_account_id,
            str(error) or type(error).__name__,
        )


def unlink_login(
    provider: Provider,
    login: LinkedLogin,
    *,
    reason: str | None,
    db: Connection,
    cipher: TokenCipher,
    endpoint: Endpoint,
    limiter: Limiter,
) -> None:
    """Make the provider give up the access to a login, and delete its token; do nothing if that was done before.

    A login that the provider has no more is unlinked as well, so that an interrupted call can be repeated.

    Raises
    ------
    UnlinkFailed
        If the provider could not be reached, or refused; nothing was changed.
    LinkedMeanwhile
        If the login got a new token in the meantime.
    TokenUnreadable
        If no key decrypts its access token.
    """
    if login.access_token is None:
        return
    access_token = cipher.decrypt(login.access_token, provider_account_id=login.provider_account_id)

    async def call() -> bool:
        async with open_client(provider, endpoint, limiter, tokens=ProviderTokens(db, cipher)) as client:
            return await give_up_access(client, GrantedItem(login.item_id, access_token))

    try:
        had_access = asyncio.run(call())
    except ProviderCallFailed as failure:
        raise UnlinkFailed(provider.name, login.provider_account_id, failure.code) from None
    except ProviderRefused as refused:
        raise UnlinkFailed(provider.name, login.provider_account_id, refused.detail) from None
    is_unlinked = provider_accounts.unlink(
        db, login.provider_account_id, token_version=login.token_version, reason=reason
    )
    states = logins.find_states(db, [login.provider_account_id])
    if not is_unlinked and states.get(login.provider_account_id) != LoginState.UNLINKED:
        raise LinkedMeanwhile(login.provider_account_id)
    log.info("%s: unlinked login %d, had access: %s", provider.name, login.provider_account_id, had_access)
