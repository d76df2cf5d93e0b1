"""Detection of logins that were linked again: a new login at the provider, with new ids for the same money.

The earlier login of the same user at the same institution is replaced if later ones have all its open accounts; if it
has others, it is synced further, and only the accounts that are the same count no more. Logins are compared when one is
linked, so that the earlier one is not synced any more, and once more when its accounts are first loaded
(`after_merge.replace_linked_again`): at link, the provider may not answer, and the accounts of the earlier login may
not be loaded yet. The transactions of the earlier login end when those of the new one are loaded; see
`compare_replaced` in `include/sql/entities/transactions.replaced.sql`.
"""

from __future__ import annotations

import logging
from collections.abc import Collection

from etl.db.connection import Connection
from etl.db.tables.entity_statements import EntityStatements
from etl.declare.entity import Entity
from etl.declare.source import Snapshot
from etl.sync.logins.store import replaced_accounts
from etl.sync.logins.store.login_state import LoginState
from etl.sync.logins.store.replaced_accounts import AccountMatch, LinkedAccount
from etl.sync.provider.client import ProviderClient
from etl.sync.provider.enrolment import GrantedItem
from etl.sync.provider.pages import AccountReader
from etl.sync.records.decoder import PageDecoder
from etl.sync.records.structs import column_values, values_by_field

log = logging.getLogger(__name__)

_ATTRIBUTES = ("account_id", "persistent_id", "mask", "type", "subtype")


def reader(client: ProviderClient, accounts: Entity, *, provider_account_id: int, item: GrantedItem) -> AccountReader:
    """Return the reader of a login that was just linked."""
    page_size = accounts.source.page_size if isinstance(accounts.source, Snapshot) else 1
    return AccountReader(client, provider_account_id, item.access_token, page_size, item_id=item.item_id)


async def read_accounts(reader: AccountReader, accounts: Entity) -> list[LinkedAccount]:
    """Return the accounts of a login that was just linked.

    Parameters
    ----------
    accounts
        The entity whose snapshot lists them.

    Raises
    ------
    ProviderCallFailed
        If the provider could not be reached, or is not ready.
    ProviderRefused
        If no rule covers its response.
    """
    source = accounts.source
    if not isinstance(source, Snapshot):
        return []
    decoder = PageDecoder(accounts, source.name)
    linked: list[LinkedAccount] = []
    async for _, body in reader.read_list(source):
        records = decoder.decode(body).upserts
        if records:
            fields = values_by_field(records.levels[0])
            columns = {column.name: column_values(column, fields) for column in accounts.columns}
            currencies = [
                next((value for value in values if value), None)
                for values in zip(*(columns[name] for name in accounts.currencies), strict=True)
            ]
            attributes = [columns[name] for name in _ATTRIBUTES]
            linked += [
                LinkedAccount(reader.provider_account_id, *values)
                for values in zip(*attributes, currencies, strict=True)
            ]
    return linked


def replace_earlier_logins(accounts: list[LinkedAccount], *, db: Connection) -> list[AccountMatch]:
    """Let a new login replace the user's earlier ones that have accounts in common with it, and return the matches.

    Parameters
    ----------
    accounts
        The accounts of the new login.
    """
    matches = replaced_accounts.compare(db, accounts)
    for new, old in sorted({(match.new_provider_account_id, match.old_provider_account_id) for match in matches}):
        log.info("provider account %d has accounts of %d, linked before", new, old)
    return matches


def restore_login(provider_account_id: int, *, entities: Collection[Entity], db: Connection) -> LoginState | None:
    """Undo the replacement of a login, or of some of its accounts; see `replaced_accounts.restore`.

    Parameters
    ----------
    entities
        All entities; rows of those whose file has `restore_replaced` come back.

    Returns
    -------
    LoginState or None
        Its state now; None if there was nothing to undo.
    """
    files = [EntityStatements(entity) for entity in entities]
    restorations = [file["restore_replaced"] for file in files if "restore_replaced" in file]
    return replaced_accounts.restore(db, provider_account_id, restorations=restorations)
