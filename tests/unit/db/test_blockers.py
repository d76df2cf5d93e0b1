from datetime import timedelta

import pytest

from etl.db.blockers import Blocker, hide_values
from etl.db.timeouts import TIMEOUTS


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("select 1", "select …"),
        ("update t1 set a = 'Bob', b = $1\n  where c2 = 1.5e3", "update t1 set a = …, b = $1 where c2 = …"),
        ("select 'it''s' || e'a\\'b' || E'x' || 'y'", "select … || … || … || …"),
        ('select "It\'s", \'Bob\' from "a""b\'"', 'select "It\'s", … from "a""b\'"'),
        ("select -- don't tell\n 'Bob' /* it's */, 'x'", "select … , …"),
        ("do $$ secret $$, $a_1$ it's $a_1$, 'x'", "do …, …, …"),
        ("select e1, 'the server cut the se", "select e1, …"),
        ("select $$ cut", "select …"),
        ("select 1 /* cut it's", "select …"),
    ],
)
def test_values_and_comments_of_a_query_are_not_shown(query: str, shown: str) -> None:
    assert hide_values(query) == shown


def test_a_long_query_is_cut() -> None:
    assert hide_values(f"select {'a, ' * 200}b") == f"select {'a, ' * 200}"[:200] + "…"


def test_a_blocker_of_which_little_may_be_seen_is_described() -> None:
    unknown = Blocker(7, login="", application="", address="", state="", open_for=None, query="")
    assert str(unknown) == "pid 7 (user unknown)"
    assert "pg_prepared_xacts" in str(Blocker(0, "", "", "", "", timedelta(), ""))


def test_options_that_were_given_come_after_ours_since_the_last_one_counts() -> None:
    options = TIMEOUTS.options("-c lock_timeout=1s")
    assert options.startswith("-c lock_timeout=300000 -c idle_in_transaction_session_timeout=600000 ")
    assert options.endswith(" -c lock_timeout=1s")
