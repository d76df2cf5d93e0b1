"""A play: one behaviour of a bank, acted on a stage, with the questions that its verdict answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from etl.conform import scratch, shape
from etl.conform.banks import Asked, Intercept, PlayedBank
from etl.conform.documented import Documented
from etl.conform.reel import Page, Reel
from etl.conform.server import Answer
from etl.conform.stage import Steps, Tables, read_tables
from etl.conform.verdict import NotApplicable, Wrong
from etl.declare.api.quota import Quota
from etl.declare.entity import PROVIDER_ACCOUNT, Entity
from etl.declare.provider import ErrorAction
from etl.declare.source import Feed, Recent, Snapshot
from etl.sync.logins.store import logins, provider_accounts

MAX_CALM_RUNS = 3
"""Runs without a disturbance after which the tables must be equal."""

Reference = Callable[[Reel], Tables]
"""Returns what an undisturbed read of a reel leaves in a scratch database of its own."""


@dataclass
class Play:
    """One behaviour, against an entity.

    Parameters
    ----------
    steps, bank
        The stage.
    original
        What the bank has at first.
    refer
        The tables that an undisturbed read leaves.
    documented
        Answers that the documentation of the provider shows.
    quota
        Quota of the source, which is off in all other plays.
    victim
        Index of the login that is disturbed; the others are its neighbours.
    """

    steps: Steps
    bank: PlayedBank
    original: Reel
    refer: Reference
    documented: Documented = field(default_factory=dict)
    quota: Quota | None = None
    victim: int = field(init=False)

    def __post_init__(self) -> None:
        logins = self.original.logins
        self.victim = max(range(len(logins)), key=lambda login: (len(logins[login]), -login))

    @property
    def entity(self) -> Entity:
        """What is read."""
        return self.steps.entity

    @property
    def source(self) -> Feed | Snapshot:
        """Where it is read from."""
        return self.bank.source

    @property
    def pages(self) -> list[Page]:
        """The pages of the victim, at first."""
        return self.original.logins[self.victim]

    def require_pages(self, count: int) -> None:
        """End the play if the victim has fewer pages.

        Raises
        ------
        NotApplicable
            With how many it has.
        """
        if len(self.pages) < count:
            raise NotApplicable(f"it needs a login with {count} pages, and the bank sent at most {len(self.pages)}")

    def errors(self, name: str, action: ErrorAction) -> list[Answer]:
        """Return the errors to answer with: those that are documented, else one that an error rule matches.

        Empty if no rule does.
        """
        if documented := self.documented.get(name):
            return list(documented)
        answer = shape.error_answer(self.entity.provider, action)
        return [Answer(*answer)] if answer else []

    def require_neighbour(self) -> None:
        """End the play if the victim is the only login: where none can be read, the task itself fails.

        Raises
        ------
        NotApplicable
            If there is no other.
        """
        if len(self.original.logins) == 1:
            raise NotApplicable("it needs a second login; give the kit more of them")

    def intercept(self, respond: Intercept) -> None:
        """Let the bank answer the victim otherwise."""
        self.bank.intercept = lambda asked: respond(asked) if asked.login == self.victim else None

    def calm(self, reel: Reel | None = None) -> None:
        """Let the bank answer as usual, perhaps with other records than before."""
        self.bank.intercept = lambda _: None
        self.bank.reel = reel or self.bank.reel

    def run(self) -> None:
        """Run the entity once.

        Raises
        ------
        Wrong
            If the bank was asked without end.
        """
        self.bank.begin_run()
        self.steps.run()
        if self.bank.is_endless:
            raise Wrong(
                f"the bank was asked {len(self.bank.asked)} times in one run, and the read did not end by itself"
            )

    @property
    def calls(self) -> list[Asked]:
        """The calls of the victim in the latest run."""
        return [each for each in self.bank.asked if each.login == self.victim]

    @property
    def left_out(self) -> dict[int, tuple[str, str]]:
        """Logins that the latest run left out."""
        return scratch.left_out_of(self.steps.db, entity=self.entity.name, run_id=self.steps.run_id)

    @property
    def victim_id(self) -> int:
        """Provider account of the victim."""
        return self.steps.logins[self.victim]

    def require_neighbours(self) -> None:
        """Require that the other logins, which nothing disturbs, are loaded.

        Raises
        ------
        Wrong
            If a row of them is missing.
        """
        expected, found = self.refer(self.original), read_tables(self.steps)
        others = set(self.steps.logins) - {self.victim_id}
        problem = compare(self.entity, _only(expected, self.entity, others), _only(found, self.entity, others))
        if problem:
            raise Wrong(f"logins that were not disturbed were not loaded: {problem}{self._errors}")

    def require_in_this_run(self, reel: Reel | None = None) -> None:
        """Require that the run has loaded everything.

        Raises
        ------
        Wrong
            With what differs, and why the victim was left out, if it was.
        """
        problem = self.find_difference(reel or self.bank.reel)
        if problem:
            reason = self._reason_of_victim
            raise Wrong(
                f"the run did not load the login{f': it was left out as {reason}' if reason else f': {problem}'}"
            )

    def require_visible(self) -> str:
        """Require that the victim was left out, and return why.

        Raises
        ------
        Wrong
            If nobody can see that it was not loaded.
        """
        if not self._reason_of_victim:
            raise Wrong("the login was read in spite of it, and nothing shows that something is missing")
        return self._reason_of_victim

    def require_visible_or_loaded(self, reel: Reel | None = None) -> str:
        """Require that the victim is loaded, or was left out visibly; return which."""
        if not self._reason_of_victim and (problem := self.find_difference(reel or self.bank.reel)):
            raise Wrong(f"the run counted the login as loaded, but {problem}")
        return f"left out as {self._reason_of_victim}" if self._reason_of_victim else "loaded"

    def require_state(self, state: str) -> None:
        """Require a state of the victim.

        Raises
        ------
        Wrong
            If it has another.
        """
        found = logins.find_states(self.steps.db, [self.victim_id]).get(self.victim_id)
        if found != state:
            reason = self._reason_of_victim or "nothing"
            raise Wrong(f"the state of the login is {found!r} instead of {state!r}; the run left it out as {reason}")

    def repair_login(self) -> None:
        """Let the user of the victim log in again."""
        provider_accounts.resume(self.steps.db, [self.victim_id])

    def settle(self, reel: Reel | None = None, *, like: Reel | None = None) -> str:
        """Run without a disturbance until the tables are equal to those of an undisturbed read; return after how many.

        Parameters
        ----------
        reel
            What the bank has from now on; None for what it has.
        like
            A reel whose rows are the same, although its pages are others; None if there is none.

        Raises
        ------
        Wrong
            If they never are.
        """
        self.calm(reel)
        for number in range(1, MAX_CALM_RUNS + 1):
            self.run()
            problem = self.find_difference(like or self.bank.reel, are_pages_equal=like is None)
            if not problem:
                self.require_state("active")
                return "the next run" if number == 1 else f"{number} runs"
        reason = self._reason_of_victim
        raise Wrong(
            f"after {MAX_CALM_RUNS} undisturbed runs the tables still differ: {problem}"
            + (f"; the login is left out as {reason}" if reason else "")
            + self._errors
        )

    def find_difference(self, reel: Reel, *, are_pages_equal: bool = True) -> str:
        """Return how the tables differ from those of an undisturbed read of a reel; empty if they do not."""
        expected, found = self.refer(reel), read_tables(self.steps)
        for follower in self.steps.followers:
            missing = expected.rows[follower.name].keys() - found.rows[follower.name].keys()
            if missing:
                return f"{len(missing)} rows of {follower.name} are missing"
        return compare(self.entity, expected, found if are_pages_equal else replace(found, cursors=expected.cursors))

    def count_live(self) -> int:
        """Return the number of live rows of the victim."""
        rows = scratch.rows_of(self.steps.db, self.entity).values()
        return sum(row[PROVIDER_ACCOUNT] == self.victim_id for row in rows)

    def rows_only_in(self, reel: Reel, other: Reel) -> list[dict[str, Any]]:
        """Return the rows that an undisturbed read of one reel has, and that of another has not."""
        rows, others = self.refer(reel).rows[self.entity.name], self.refer(other).rows[self.entity.name]
        return [row for key, row in rows.items() if key not in others]

    def is_judged(self, row: dict[str, Any]) -> bool:
        """Return whether the absence of a row of recent days says that it ended."""
        source = self.source
        if not isinstance(source, Recent):
            return True
        first = datetime.now(UTC).date() - timedelta(days=source.days - 1)
        rows = self.refer(self.original).rows[self.entity.name].values()
        same = [each for each in rows if source.account is None or each[source.account] == row[source.account]]
        posted = [each for each in same if source.pending is None or not each[source.pending]]
        oldest = min((date.fromisoformat(each[source.dated_by]) for each in posted if each != row), default=date.max)
        return len(same) > 1 and (row not in posted or date.fromisoformat(row[source.dated_by]) > max(first, oldest))

    def require_equal(self, reel: Reel) -> None:
        """Require that the tables are those of an undisturbed read, now.

        Raises
        ------
        Wrong
            With what differs.
        """
        if problem := self.find_difference(reel):
            raise Wrong(f"the tables differ from those of an undisturbed read: {problem}{self._errors}")

    @property
    def _reason_of_victim(self) -> str:
        """Why the latest run did not load the victim; empty if it did."""
        if self.victim_id in self.left_out:
            outcome, reason = self.left_out[self.victim_id]
            return f"{outcome!r} ({reason})" if reason else repr(outcome)
        if self.victim_id in scratch.quarantined(self.steps.db, entity=self.entity.name):
            return "'quarantined'"
        return ""

    @property
    def _errors(self) -> str:
        return f"; a step said: {self.steps.errors[-1]}" if self.steps.errors else ""


def compare(entity: Entity, expected: Tables, found: Tables) -> str:
    """Return how the rows of an entity, its cursors and rejects differ, in words; empty if they do not."""
    should, have = expected.rows[entity.name], found.rows[entity.name]
    problems = []
    if missing := should.keys() - have.keys():
        problems.append(f"{len(missing)} of {len(should)} rows of {entity.name} are missing")
    if more := have.keys() - should.keys():
        problems.append(f"{len(more)} rows of {entity.name} are live that should not be")
    differing = [key for key in should.keys() & have.keys() if should[key] != have[key]]
    if differing:
        columns = sorted(
            {name for key in differing for name in should[key] if should[key][name] != have[key].get(name)}
        )
        problems.append(f"{len(differing)} rows of {entity.name} differ in {', '.join(columns)}")
    if not problems and sorted(expected.rejects) != sorted(found.rejects):
        kinds = sorted({f"{path} ({rule})" for _, _, path, rule in set(expected.rejects) ^ set(found.rejects)})
        problems.append(f"{len(found.rejects)} records are rejected instead of {len(expected.rejects)}: {kinds[0]}")
    if not problems and expected.cursors != found.cursors:
        logins = [login for login in expected.cursors if expected.cursors[login] != found.cursors.get(login)]
        problems.append(f"the cursors of {len(logins)} logins are elsewhere")
    return "; ".join(problems)


def answer_once(answer: Answer, *, index: int, times: int = 1) -> Intercept:
    """Return an interception that answers the first calls for a page in another way."""
    return lambda asked: answer if asked.index == index and asked.times <= times else None


def answer_always(answer: Answer, *, since: int = 0) -> Intercept:
    """Return an interception that answers all calls for a page and those after it in another way."""
    return lambda asked: answer if asked.index >= since else None


def page_of(page: Page) -> Answer:
    """Return a page as an answer."""
    headers = {"Content-Type": "application/json"} | ({"Link": page.link} if page.link else {})
    return Answer(200, shape.encode(page.document), headers)


def _only(tables: Tables, entity: Entity, login_ids: Sequence[int] | set[int]) -> Tables:
    """Return what some logins have."""
    rows = {key: row for key, row in tables.rows[entity.name].items() if row[PROVIDER_ACCOUNT] in login_ids}
    cursors = {login: cursor for login, cursor in tables.cursors.items() if login in login_ids}
    return Tables({entity.name: rows}, cursors, [each for each in tables.rejects if each[1] in login_ids])
