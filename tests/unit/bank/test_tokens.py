import re
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dev.bank.world import tokens
from dev.bank.world.seed import Key
from dev.bank.world.tokens import MAX_ITEMS, TokenKind, TokenUnknown

KEY = Key.of("seed")
items = st.integers(0, MAX_ITEMS - 1)
kinds = st.sampled_from(TokenKind)


@given(items, kinds)
def test_a_token_decodes_to_its_item_number(item: int, kind: TokenKind) -> None:
    assert tokens.read(KEY, kind, tokens.mint(KEY, kind, item)) == item


@pytest.mark.parametrize("kind", TokenKind)
def test_a_token_looks_like_plaids(kind: TokenKind) -> None:
    hexadecimal = "[0-9a-f]"
    uuid = f"{hexadecimal}{{8}}-(?:{hexadecimal}{{4}}-){{3}}{hexadecimal}{{12}}"
    assert re.fullmatch(f"{kind.value}-sandbox-{uuid}", tokens.mint(KEY, kind, 7))


@given(st.uuids(), kinds)
def test_a_made_up_token_is_refused(uuid: UUID, kind: TokenKind) -> None:
    with pytest.raises(TokenUnknown, match="not issued by this bank"):
        tokens.read(KEY, kind, f"{kind.value}-sandbox-{uuid}")


@given(items, st.integers(0, 127))
def test_a_token_with_one_bit_changed_is_refused(item: int, bit: int) -> None:
    prefix, uuid = "access-sandbox-", tokens.mint(KEY, TokenKind.ACCESS, item).removeprefix("access-sandbox-")
    with pytest.raises(TokenUnknown):
        tokens.read(KEY, TokenKind.ACCESS, f"{prefix}{UUID(int=UUID(uuid).int ^ 1 << bit)}")


@given(items)
def test_a_token_of_the_other_kind_is_refused(item: int) -> None:
    uuid = tokens.mint(KEY, TokenKind.PUBLIC, item).removeprefix("public-sandbox-")
    with pytest.raises(TokenUnknown):
        tokens.read(KEY, TokenKind.ACCESS, f"access-sandbox-{uuid}")


def test_a_token_of_another_seed_is_refused() -> None:
    with pytest.raises(TokenUnknown):
        tokens.read(Key.of("other"), TokenKind.ACCESS, tokens.mint(KEY, TokenKind.ACCESS, 7))


@pytest.mark.parametrize("form", ["{}", "access-sandbox-{{{}}}", "access-sandbox-urn:uuid:{}", "access-sandbox-{} "])
def test_a_token_in_another_form_is_refused(form: str) -> None:
    uuid = tokens.mint(KEY, TokenKind.ACCESS, 7).removeprefix("access-sandbox-")
    with pytest.raises(TokenUnknown):
        tokens.read(KEY, TokenKind.ACCESS, form.format(uuid))


def test_a_token_in_capitals_is_refused() -> None:
    prefix, uuid = "access-sandbox-", tokens.mint(KEY, TokenKind.ACCESS, 7).removeprefix("access-sandbox-")
    with pytest.raises(TokenUnknown):
        tokens.read(KEY, TokenKind.ACCESS, prefix + uuid.upper())


def test_neighbouring_items_share_no_part_of_a_token() -> None:
    first, second = (tokens.mint(KEY, TokenKind.ACCESS, item).split("-")[2:] for item in (7, 8))
    assert not set(first) & set(second)
