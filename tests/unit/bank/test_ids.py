from datetime import date

from dev.bank.world import ids
from dev.bank.world.seed import Key

KEY = Key.of("seed")
DAY = date(2026, 6, 29)


def test_ids_are_37_letters_and_digits() -> None:
    all_ids = [
        ids.item_id(KEY, 1),
        ids.account_id(KEY, 1, 0),
        ids.persistent_account_id(KEY, 1, 0),
        ids.transaction_id(KEY, 1, DAY, 0),
        ids.pending_id(KEY, 1, DAY, 0),
        ids.created_id(KEY, 1, 0),
        ids.purchase_id(KEY, "january.xls", 2),
        ids.named_entity_id(KEY, "shell"),
        ids.entity_id(KEY, 1),
    ]
    assert all(len(each) == 37 and each.isascii() and each.isalnum() for each in all_ids)


def test_no_two_things_share_an_id() -> None:
    numbers = range(50)
    all_ids = [
        *(ids.item_id(KEY, item) for item in numbers),
        *(ids.account_id(KEY, item, account) for item in numbers for account in range(3)),
        *(ids.persistent_account_id(KEY, item, account) for item in numbers for account in range(3)),
        *(ids.transaction_id(KEY, item, DAY, ordinal) for item in numbers for ordinal in range(5)),
        *(ids.pending_id(KEY, item, DAY, ordinal) for item in numbers for ordinal in range(5)),
        *(ids.created_id(KEY, item, ordinal) for item in numbers for ordinal in range(5)),
        *(ids.purchase_id(KEY, source, row) for source in ("a.xls", "b.xls") for row in numbers),
        *(ids.named_entity_id(KEY, str(merchant)) for merchant in numbers),
        *(ids.entity_id(KEY, merchant) for merchant in numbers),
    ]
    assert len(set(all_ids)) == len(all_ids)


def test_ids_depend_on_the_seed() -> None:
    assert ids.item_id(KEY, 1) == ids.item_id(Key.of("seed"), 1) != ids.item_id(Key.of("other"), 1)
