"""A full read ends what it proves to be gone, and no replay or decision loses a row."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from etl.sync.resync import approve, revoke
from tests.integration.sync.full_reads import ALL, FEW, MANY, OLD, READ_ON, SENT, Case, Row, load_login
from tests.integration.sync.pipeline import Pipeline
from tests.unit.sync.samples import page, transaction

AGES = (0, 1, 30, 89, 90, 91, 400, 729, 730, 731, 1_500)
OUTLIERS = (date(1, 1, 1), date(2021, 5, 5), READ_ON - timedelta(days=730), READ_ON + timedelta(days=20))
CASES = st.builds(
    Case,
    rows=st.lists(
        st.builds(
            Row,
            account_id=st.sampled_from("abc"),
            age=st.sampled_from(AGES),
            fate=st.sampled_from(
                ("sent", "sent", "sent", "absent", "absent", "rejected", "held", "posted", "seen later")
            ),
        ),
        min_size=1,
        max_size=25,
    ).map(tuple),
    outliers=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(OUTLIERS)), max_size=3).map(tuple),
    has_nameless_reject=st.sampled_from((False, False, False, False, True)),
    promise=st.sampled_from((730, 730, 90, None)),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=CASES)
@example(case=Case((*FEW, SENT), (), has_nameless_reject=False, promise=730))
@example(case=Case((*MANY, SENT), (), has_nameless_reject=False, promise=730))
@example(case=Case((*MANY, *[SENT] * 53), (), has_nameless_reject=False, promise=730))
@example(case=Case((*MANY, *[SENT] * 54), (), has_nameless_reject=False, promise=730))
@example(case=Case((*FEW, Row("a", 45, "sent")), (), has_nameless_reject=False, promise=730))
@example(case=Case((*OLD, SENT), (("a", date(1, 1, 1)),), has_nameless_reject=False, promise=730))
@example(case=Case((*OLD, SENT), (("a", date(2021, 5, 5)),), has_nameless_reject=False, promise=730))
@example(case=Case((*FEW, SENT), (), has_nameless_reject=True, promise=730))
@example(case=Case((*FEW, SENT), (), has_nameless_reject=False, promise=None))
@example(case=Case(FEW, (), has_nameless_reject=False, promise=730))
@example(case=Case((*FEW, Row("b", 1, "sent")), (), has_nameless_reject=False, promise=730))
@example(
    case=Case((*FEW, SENT, Row("a", 1, "rejected"), Row("a", 1, "held")), (), has_nameless_reject=False, promise=730)
)
@example(case=Case((*FEW, SENT, Row("a", 1, "seen later")), (), has_nameless_reject=False, promise=730))
def test_a_full_read_ends_what_is_proved_and_replays_decisions_and_revocations_keep_to_it(
    pipeline: Pipeline, case: Case
) -> None:
    login = load_login(pipeline, case)
    before = login.states(ALL)
    change = transaction(transaction_id="new", account_id=case.rows[0].account_id, date="2020-01-01")
    login.load((login.account, case.full_read()), (login.other, page(added=[change])), hours=1, moves="a>b")
    found = login.reconciliation()
    assert (found.state, found.absent, bool(found.skipped)) == (
        "pending" if case.must_wait() else "applied",
        len(case.absent()),
        case.is_said(),
    )
    event(f"{found.state}, {'some' if found.absent else 'none'} absent")
    others = "select count(*) from core.transactions where provider_account_id = %s and removed_at is not null"
    assert pipeline.db.execute(others, [login.other]).fetchone() == (0,)

    def assert_ended(ended: set[str]) -> None:
        posted = {f"t{number}": ("posted",) for number in case.with_fate("posted")}
        expected = {key: ("absent",) if key in ended else posted.get(key, (None,)) for key in login.states()}
        assert login.states() == expected

    assert_ended(set() if case.must_wait() else case.absent())
    after = login.states(ALL)
    for raw_id in reversed(login.batches):
        pipeline.replay(raw_id)
    assert login.states(ALL) == after
    if case.must_wait():
        login.decide(approve)
        assert_ended(case.absent())
    if case.absent():
        login.decide(revoke)
        assert_ended(set())
        assert {key: login.states(ALL)[key] for key in case.absent()} == {key: before[key] for key in case.absent()}
        for raw_id in login.batches:
            pipeline.replay(raw_id)
        assert_ended(set())
        pipeline.db.execute("delete from core.transactions where provider_account_id = %s", [login.account])
        for raw_id in login.batches:
            pipeline.replay(raw_id)
        assert_ended(set())
