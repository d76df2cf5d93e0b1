from decimal import Decimal

import pytest

from etl.sync.records.faults import (
    FieldWarning,
    RecordFault,
    WarningTally,
    describe_json,
    describe_text,
    describe_value,
)

TOKEN = "access-production-5f0ab1de-8a1d-4b1a-9e8c-1d2e3f4a5b6c"


def test_warnings_are_counted_by_login_path_and_rule_with_their_first_line_and_example() -> None:
    tally = WarningTally()
    for line, position in ((3, 7), (3, 8), (4, 0)):
        warnings = [FieldWarning(f"added[{position}].datetime", "type", str(position))]
        tally.add(warnings, provider_account_id=1, line=line)
    tally.add([FieldWarning("added[0].datetime", "nul", "x")], provider_account_id=1, line=5)
    tally.add([FieldWarning("added[0].datetime", "type", "y")], provider_account_id=2, line=6)
    assert [
        (each.provider_account_id, each.path, each.rule, each.records, each.line, each.found) for each in tally
    ] == [
        (1, "added[].datetime", "type", 3, 3, "7"),
        (1, "added[].datetime", "nul", 1, 5, "x"),
        (2, "added[].datetime", "type", 1, 6, "y"),
    ]


def test_a_fault_is_of_one_kind_wherever_in_its_list_the_record_is() -> None:
    fault = RecordFault("added[3].counterparties[12].name", "type", "")
    assert fault.kind == ("added[].counterparties[].name", "type")


@pytest.mark.parametrize("text", ["x y" * 1_000, "\0" * 1_000, TOKEN * 50])
def test_what_was_found_is_short_and_has_no_nul(text: str) -> None:
    for described in (describe_text(text), describe_value(text), describe_json(text.encode())):
        assert len(described) <= 100
        assert "\0" not in described


@pytest.mark.parametrize(
    "secret", [TOKEN, "DE89370400440532013000", "4111111111111111", "4111 1111 1111 1111", "4111-1111-1111-1111"]
)
@pytest.mark.parametrize("around", ["{}", '{{"token": "{}"}}', "Card {}."])
def test_what_was_found_never_shows_a_whole_secret(secret: str, around: str) -> None:
    described = describe_text(around.format(secret))
    assert secret not in described
    assert secret[:4] in described


def test_what_is_no_secret_is_shown_as_it_is() -> None:
    for value in ("2026-11-20T23:59:60Z", Decimal("4.220000000000001"), "", "Harbour Deli 1700"):
        assert describe_value(value) == str(value)
