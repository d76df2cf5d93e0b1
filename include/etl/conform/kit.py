"""The conformance kit: plays what real banks do wrong against the declarations of a provider.

The provider is read once, undisturbed, through a proxy that records its pages. All behaviours are then played from the
recording, with invented logins, so that a provider with a few calls a day can be played, and every play is the same.
Each play runs the real steps in an empty database of its own; no table of the warehouse is touched.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from etl.conform import checks, edits, scratch
from etl.conform.banks import Recorder
from etl.conform.behaviours.table import BEHAVIOURS, Behaviour
from etl.conform.documented import Documented
from etl.conform.play import Play
from etl.conform.reel import Reel
from etl.conform.scratch import Scratch, open_scratch
from etl.conform.stage import (
    MAX_LOGINS,
    Steps,
    Tables,
    new_cipher,
    open_played,
    open_steps,
    prepare,
    read_tables,
    unlimited,
)
from etl.conform.verdict import NotApplicable, Result, Verdict, Wrong
from etl.db import connection as warehouses
from etl.declare.api.request import Placeholder
from etl.declare.entity import Entity, RawOf
from etl.declare.provider import Provider
from etl.declare.source import Feed, Snapshot
from etl.errors import PermanentError
from etl.settings import Endpoint
from etl.sync.logins.provider_tokens import ProviderTokens
from etl.sync.provider.client import ProviderCallFailed, open_client
from etl.sync.provider.enrolment import GrantedItem, exchange_public_token

UNDISTURBED = "undisturbed read"
LISTS = "lists that nothing reads"
KEY = "key"
END = "end of the list"
SIGNS = "signs and pending"

NAMES = (UNDISTURBED, LISTS, KEY, END, *(behaviour.name for behaviour in BEHAVIOURS), SIGNS)
"""All that is checked and played, in this order."""

PAGES = 4
"""Pages into which the records of a login are divided, where the request says how many a page has."""

THREADS = 4
"""Plays at the same time; they mostly wait."""

_UNASKED = "you say that the provider never does this (--without)"


class NothingToPlay(PermanentError):
    """A provider cannot be played."""


@dataclass(frozen=True)
class Provided:
    """Where the pages come from.

    Parameters
    ----------
    endpoint, items, public_tokens
        The provider and its logins, to be read now, or what is exchanged for these; None to play a recording.
    recording
        Folder of the recordings to play; None to read the provider.
    record
        Folder to which the recordings are written; None to keep none.
    documented
        Answers that the documentation of the provider shows.
    """

    endpoint: Endpoint | None = None
    items: Sequence[GrantedItem] = ()
    public_tokens: Sequence[str] = ()
    recording: Path | None = None
    record: Path | None = None
    documented: Documented = field(default_factory=dict)


@dataclass
class _Reader:
    """Reads reels without a disturbance, each once."""

    databases: Scratch
    entity: Entity
    followers: Sequence[Entity]
    _tables: list[tuple[Reel, Tables]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, reel: Reel) -> Tables:
        """Return what an undisturbed read of a reel leaves."""
        with self._lock:
            for known, tables in self._tables:
                if known == reel:
                    return tables
        with open_played(self.databases, self.entity, self.followers, reel) as (steps, _):
            steps.run()
            tables = read_tables(steps)
        with self._lock:
            self._tables.append((reel.copy(), tables))
        return tables


def conform(
    entities: Sequence[Entity],
    source: Provided,
    *,
    server: Endpoint,
    without: Collection[str] = (),
    only: Collection[str] = (),
    tell: Callable[[Verdict], None] = lambda _: None,
) -> list[Verdict]:
    """Play all behaviours against the entities of a provider, and return the verdicts.

    Parameters
    ----------
    entities
        The entities of one provider.
    source
        The provider, or a recording of it.
    server
        A database of the server on which scratch databases are created.
    without
        Names of behaviours that the provider never shows.
    only
        Names of the behaviours to play besides the undisturbed read; empty for all.
    tell
        Is given each verdict as soon as those before it are known.

    Raises
    ------
    NothingToPlay
        If no entity is read from the provider, there is no login, or a behaviour has no such name.
    ScratchRefused
        If no scratch database can be created.
    RecordingUnreadable
        If there is no recording.
    """
    read = [entity for entity in entities if not isinstance(entity.source, RawOf)]
    if not read:
        raise NothingToPlay("none of the entities is read from the provider itself; name those that are.")
    if source.recording is None and not (source.items or source.public_tokens):
        raise NothingToPlay("there is no login to read; give some with --logins or --public-token.")
    for name in (*without, *only):
        if name not in NAMES:
            raise NothingToPlay(f"{name!r} is no behaviour; it is one of {', '.join(NAMES)}.")
    verdicts: list[Verdict] = []
    with open_scratch(server, entities) as databases:
        if source.recording is None:
            items = [*source.items, *_exchange(read[0].provider, source, databases)]
            source = replace(source, items=items, public_tokens=())
        for entity in read:
            performance = _Performance(databases, entity, entities, source, frozenset(without), frozenset(only))
            for verdict in performance.verdicts():
                verdicts.append(verdict)
                tell(verdict)
    return verdicts


@dataclass(frozen=True)
class _Performance:
    """All plays against one entity."""

    databases: Scratch
    entity: Entity
    entities: Sequence[Entity]
    provided: Provided
    without: frozenset[str]
    only: frozenset[str]

    def verdicts(self) -> Iterator[Verdict]:
        source = self.source
        folder = self.provided.recording
        try:
            reel = self._record() if folder is None else Reel.load(folder, source.name)
        except Wrong as wrong:
            yield Verdict(self.entity.name, UNDISTURBED, Result.WRONG, _sentence(wrong, ""))
            return
        undisturbed = self._verdict(UNDISTURBED, lambda: self._check_undisturbed(reel), "")
        yield undisturbed
        if undisturbed.result is Result.WRONG:
            return
        reader = _Reader(self.databases, self.entity, self.followers)
        checked = (
            (LISTS, lambda: checks.check_lists(self.entities, source, reel), "name it in `upserts` or `deletes`"),
            (KEY, lambda: checks.check_key(self.entity, source, reel), "see `key` of the entity"),
            (END, lambda: checks.check_end(source, reel), ""),
        )
        yield from (self._verdict(*each) for each in checked if self._is_asked(each[0]))
        with ThreadPoolExecutor(THREADS) as pool:
            played = [
                pool.submit(self._play, behaviour, reel, reader)
                for behaviour in BEHAVIOURS
                if self._is_asked(behaviour.name)
            ]
            for each in played:
                yield each.result()
        if self._is_asked(SIGNS):
            yield Verdict(self.entity.name, SIGNS, Result.NOT_APPLICABLE, checks.signs_unknown(self.entity.provider))

    def _is_asked(self, name: str) -> bool:
        return not self.only or name in self.only

    @property
    def source(self) -> Feed | Snapshot:
        source = self.entity.source
        if isinstance(source, RawOf):
            raise NothingToPlay(f"{self.entity.name} is not read from the provider itself.")
        return source

    @property
    def followers(self) -> list[Entity]:
        return [
            entity
            for entity in self.entities
            if isinstance(entity.source, RawOf) and entity.source.entity == self.entity.name
        ]

    def _verdict(self, name: str, check: Callable[[], str], remedy: str) -> Verdict:
        if name in self.without:
            return Verdict(self.entity.name, name, Result.NOT_APPLICABLE, _UNASKED)
        try:
            return Verdict(self.entity.name, name, Result.OK, check())
        except NotApplicable as reason:
            return Verdict(self.entity.name, name, Result.NOT_APPLICABLE, str(reason))
        except Wrong as wrong:
            return Verdict(self.entity.name, name, Result.WRONG, _sentence(wrong, remedy))
        except Exception as error:  # noqa: BLE001 - whatever a behaviour makes of the steps is its verdict
            found = f"a step failed with {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            return Verdict(self.entity.name, name, Result.WRONG, _sentence(Wrong(found), remedy))

    def _play(self, behaviour: Behaviour, reel: Reel, reader: _Reader) -> Verdict:
        def act() -> str:
            with open_played(self.databases, self.entity, self.followers, reel, retries=behaviour.retries) as (
                steps,
                bank,
            ):
                return behaviour.act(Play(steps, bank, reel, reader.read, self.provided.documented, self.source.quota))

        return self._verdict(behaviour.name, act, behaviour.remedy)

    def _record(self) -> Reel:
        """Read the provider through the recording proxy; once more in smaller pages, if it can be asked for them."""
        reel = self._read_provider(self.source.page_size)
        most = max(len(edits.records(self.source, reel, login)) for login in range(len(reel.logins)))
        pages = max(map(len, reel.logins))
        if pages < PAGES and most > pages and Placeholder.PAGE_SIZE in self.source.placeholders:
            # The end rule is judged by pages of the declared size: smaller ones may be full where those are not.
            goes_on = reel.goes_on
            reel = self._read_provider(max(2, most // PAGES))
            reel.goes_on = reel.goes_on or goes_on
        if self.provided.record is not None:
            reel.save(self.provided.record)
        return reel

    def _read_provider(self, page_size: int) -> Reel:
        endpoint, items = self.provided.endpoint, self.provided.items[:MAX_LOGINS]
        if endpoint is None:
            raise NothingToPlay("the provider has no address; give it with --url.")
        prepared = prepare(self.entity, page_size=page_size, retries=self.entity.provider.retries)
        recorder = Recorder(prepared, replace(self.source, page_size=page_size, max_records=None), endpoint, items)
        with open_steps(
            self.databases, prepared, self.followers, recorder.respond, path=urlsplit(endpoint.host).path
        ) as steps:
            steps.endpoint = replace(steps.endpoint, login=endpoint.login, password=endpoint.password)
            steps.enrol([_through_proxy(item, endpoint, steps.endpoint) for item in items])
            steps.run()
            self._require_read(steps, recorder)
            recorder.reel.rows = len(scratch.rows_of(steps.db, self.entity))
        recorder.ask_beyond(max(range(len(items)), key=lambda login: len(recorder.reel.logins[login])))
        return recorder.reel

    def _require_read(self, steps: Steps, recorder: Recorder) -> None:
        """Raise unless all logins were loaded."""
        if recorder.failure:
            raise Wrong(recorder.failure, "see the host of its connection, or --url")
        self._require_loaded(steps, recorder.reel)

    def _require_loaded(self, steps: Steps, reel: Reel) -> None:
        left_out = scratch.left_out_of(steps.db, entity=self.entity.name, run_id=steps.run_id)
        quarantined = scratch.quarantined(steps.db, entity=self.entity.name)
        document = next(iter(reel.documents), None)
        shape = checks.explain_shape(self.source, document) if document is not None else ""
        if shape:
            raise Wrong(shape, "name the path that they have")
        if quarantined or not (left_out or scratch.rows_of(steps.db, self.entity)):
            rejects = scratch.rejects_of(steps.db)
            why = f"; {len(rejects)} records are rejected, as by {rejects[0][3]} at {rejects[0][2]}" if rejects else ""
            remedy = "see `columns` and `checks`" if rejects else "see `upserts` of the source"
            what = f"{len(quarantined)} logins are quarantined" if quarantined else "no row was loaded"
            raise Wrong(f"{what}{why}{f'; {steps.errors[-1]}' if steps.errors and not rejects else ''}", remedy)
        if left_out:
            outcome, reason = next(iter(left_out.values()))
            raise Wrong(f"{len(left_out)} of {len(steps.logins)} logins were left out as {outcome!r}: {reason}")
        if steps.errors:
            raise Wrong(str(steps.errors[-1]))

    def _check_undisturbed(self, reel: Reel) -> str:
        """Play the recording without a disturbance."""
        with open_played(self.databases, self.entity, self.followers, reel) as (steps, bank):
            steps.run()
            self._require_loaded(steps, reel)
            asked = len({(each.login, each.index) for each in bank.asked if each.index < len(reel.logins[each.login])})
            rows = len(scratch.rows_of(steps.db, self.entity))
            rejects = len(scratch.rejects_of(steps.db))
        pages = sum(map(len, reel.logins))
        if self.provided.recording is None and rows != reel.rows:
            raise Wrong(
                f"the recording gives {rows} rows, and the provider itself gave {reel.rows}",
                "the kit cannot play this source; report it with its declaration",
            )
        if asked < pages:
            raise Wrong(
                f"the read ended after {asked} of {pages} recorded pages", "see `more` or `paging` of the source"
            )
        bad = f", {rejects} rejects" if rejects else ""
        return f"{rows} rows of {len(reel.logins)} logins from {pages} pages{bad}"


def _exchange(provider: Provider, source: Provided, databases: Scratch) -> list[GrantedItem]:
    """Return the logins that public tokens stand for."""
    endpoint = source.endpoint
    if not source.public_tokens or endpoint is None:
        return []

    async def exchange(tokens: ProviderTokens) -> list[GrantedItem]:
        async with open_client(provider, endpoint, unlimited(), tokens=tokens) as client:
            return [
                item for token in source.public_tokens for item in (await exchange_public_token(client, token)).items
            ]

    with databases.database() as warehouse, warehouses.connect(warehouse) as db:
        try:
            return asyncio.run(exchange(ProviderTokens(db, new_cipher())))
        except ProviderCallFailed as failure:
            raise NothingToPlay(f"{provider.name} gave no login for a public token: {failure.code}.") from None


def _through_proxy(item: GrantedItem, endpoint: Endpoint, proxy: Endpoint) -> GrantedItem:
    """Return a login whose access URL, if its token is one, leads to the proxy."""
    own, other = urlsplit(endpoint.host), urlsplit(proxy.host)
    if f"@{own.netloc}" not in item.access_token:
        return item
    token = item.access_token.replace(f"@{own.netloc}", f"@{other.netloc}")
    return replace(item, access_token=token.replace(f"{own.scheme}://", f"{other.scheme}://", 1))


def _sentence(wrong: Wrong, remedy: str) -> str:
    remedy = wrong.remedy or remedy
    return f"{wrong.found}; {remedy}" if remedy else wrong.found
