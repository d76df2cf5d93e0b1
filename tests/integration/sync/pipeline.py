"""Harness that runs the steps of a sync for tests."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import httpx
from upath import UPath

from etl.catalog.entities.accounts import ACCOUNTS
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.catalog.providers.plaid import PLAID, TRANSACTIONS_SYNC
from etl.chunking import DayRange
from etl.clients.rate_limits import Limiter
from etl.db.connection import Connection
from etl.declare.entity import Entity
from etl.settings import Endpoint
from etl.sync.download import download
from etl.sync.load import load
from etl.sync.logins import breaker
from etl.sync.logins.link import enrol_login
from etl.sync.logins.store import provider_accounts
from etl.sync.logins.store.token_cipher import TokenCipher
from etl.sync.plan import plan
from etl.sync.records import frames
from etl.sync.replay import DryRun, replay
from etl.sync.report import report
from etl.sync.store import chunks, raw_batches
from etl.sync.store.loads import LoadCounts
from etl.sync.store_raw import store_raw
from etl.sync.transform import transform

PLAID_ONE_RETRY = replace(PLAID, retries=1)
"""Plaid with a single retry, so that tests fail sooner."""
FIRST = datetime(2026, 11, 20, 8, tzinfo=UTC)
LATER = FIRST + timedelta(hours=1)


@dataclass
class Pipeline:
    """Runs the steps of an entity against a provider."""

    db: Connection
    root: UPath
    cipher: TokenCipher
    endpoint: Endpoint
    limiter: Limiter
    entity: Entity = field(default_factory=lambda: replace(TRANSACTIONS, provider=PLAID_ONE_RETRY))
    source: str = "transactions_sync"

    def enrol(self, *tokens: str) -> list[int]:
        """Enrol an account for each access token without a request to the provider; return their ids."""
        account_ids = [
            provider_accounts.enrol(
                self.db,
                self.cipher,
                provider="plaid",
                user=token,
                item_id=f"item-{token}",
                access_token=token,
                history_days=730,
            )
            for token in tokens
        ]
        self.db.execute("update core.provider_accounts set history_days = 730 where history_days is null")
        return account_ids

    def link(self, users: int) -> list[int]:
        """Enrol users of the sandbox bank, as an application does; return the ids of their accounts."""
        headers = {"PLAID-CLIENT-ID": self.endpoint.login, "PLAID-SECRET": self.endpoint.password}
        account_ids = []
        with httpx.Client(base_url=self.endpoint.host, headers=headers, trust_env=False) as client:
            for number in range(users):
                request = {
                    "institution_id": "ins_109508",
                    "initial_products": ["transactions"],
                    "options": {"override_username": f"user_{number}"},
                }
                answer = client.post("/sandbox/public_token/create", json=request).raise_for_status().json()
                account_ids.append(
                    enrol_login(
                        PLAID,
                        answer["public_token"],
                        user=str(number),
                        db=self.db,
                        cipher=self.cipher,
                        endpoint=self.endpoint,
                        limiter=self.limiter,
                        history=TRANSACTIONS_SYNC.history,
                        accounts=ACCOUNTS,
                    )
                )
        return account_ids

    def plan(self, run_id: str, days: DayRange | None = None) -> list[int]:
        """Plan a run."""
        return plan(self.entity, run_id, db=self.db, days=days)

    def download(self, run_id: str, ordinal: int = 0) -> int:
        """Download a chunk."""
        return download(
            self.entity,
            run_id,
            ordinal,
            db=self.db,
            root=self.root,
            cipher=self.cipher,
            endpoint=self.endpoint,
            limiter=self.limiter,
        )

    def store_raw(self, run_id: str, ordinal: int = 0) -> int:
        """Seal a chunk."""
        return store_raw(self.entity, run_id, ordinal, db=self.db, root=self.root)

    def transform(self, raw_id: int) -> int:
        """Transform a raw batch into a typed batch."""
        return transform(self.entity, raw_id, db=self.db, root=self.root)

    def load(self, raw_id: int, *, db: Connection | None = None) -> LoadCounts:
        """Load a typed batch."""
        return load(self.entity, raw_id, db=db or self.db, root=self.root)

    def replay(self, raw_id: int, *, dry_run: DryRun | None = None) -> LoadCounts:
        """Replay one raw batch; rows that it restores are brought up to date."""
        return replay(self.entity, raw_id, db=self.db, root=self.root, dry_run=dry_run)

    def fetch(self, run_id: str, ordinal: int = 0) -> int:
        """Download, seal and transform a chunk of a planned run; return the id of its raw batch."""
        return self.transform(self.store_raw(run_id, self.download(run_id, ordinal)))

    def run(self, run_id: str, days: DayRange | None = None) -> list[LoadCounts]:
        """Run all steps for all chunks."""
        return [self.load(self.fetch(run_id, ordinal)) for ordinal in self.plan(run_id, days)]

    def report(self, run_id: str) -> dict[str, int]:
        """Report a run, which settles which logins stop."""
        return report(self.entity, run_id, db=self.db)

    def check_logins(self, run_id: str) -> None:
        """Fail if too many logins of a run stopped or are quarantined."""
        breaker.check_logins(self.entity, run_id, db=self.db)

    def seal_pages(
        self,
        *pages: tuple[int, bytes],
        run_id: str = "by hand",
        at: datetime = FIRST,
        moves: str | Mapping[int, str] = ">a",
        whole: bool | Collection[int] = False,
        generation: int | Mapping[int, int] | None = None,
        opened_at: datetime | None = None,
        sealed_at: datetime | None = None,
    ) -> int:
        """Seal and transform given pages.

        By default the pages were received at the instant at which the batch was opened and sealed.

        Parameters
        ----------
        moves
            The cursor move of each account, such as `a>b`; one for all, or by account.
        generation
            The generation of each account's cursor; one for all, or by account.
        whole
            Whether they are a full read, or the accounts of which they are one.
        """
        full_reads = {account for account, _ in pages} if whole is True else set(whole or ())
        if not chunks.plan_account_chunks(
            self.db,
            entity=self.entity.name,
            run_id=run_id,
            provider="plaid",
            days=None,
            page_size=1,
            size=1_000,
            maximum=1,
        ):
            raise LookupError("enrol an account first")
        chunk = chunks.open_attempt(self.db, entity=self.entity.name, run_id=run_id, ordinal=0)
        cursors = {account: (moves if isinstance(moves, str) else moves[account]).split(">") for account, _ in pages}
        pages_with_headers = [
            (
                frames.Header(
                    provider_account_id=account,
                    page=0,
                    path="/transactions/sync",
                    request={},
                    cursor_from=cursors[account][0],
                    cursor_to=cursors[account][1],
                    received_at=at,
                    size=len(body),
                    whole=account in full_reads,
                    generation=generation.get(account) if isinstance(generation, Mapping) else generation,
                ),
                body,
            )
            for account, body in pages
        ]
        raw_id = raw_batches.seal(
            self.db,
            self.root,
            pages_with_headers,
            source=self.source,
            chunk_id=chunk.chunk_id,
            attempt=chunk.attempt,
            opened_at=opened_at or at,
        )
        self.db.execute(
            "update etl.raw_batches set sealed_at = %(sealed_at)s where raw_id = %(raw_id)s",
            {"sealed_at": sealed_at or at, "raw_id": raw_id},
        )
        return self.transform(raw_id)
