from __future__ import annotations

import pytest
from cryptography.fernet import Fernet

from etl.errors import SettingInvalid, TokenUnreadable
from etl.sync.logins.store.token_cipher import TokenCipher

TOKEN = "access-sandbox-1"


def new_key() -> str:
    return Fernet.generate_key().decode()


def test_a_token_stays_readable_after_a_rotation_of_its_key() -> None:
    old, new = new_key(), new_key()
    stored = TokenCipher([old]).encrypt(TOKEN, provider_account_id=1)
    assert b"access" not in stored
    assert TokenCipher([new, old]).decrypt(stored, provider_account_id=1) == TOKEN


def test_a_token_is_encrypted_by_the_first_key_and_says_by_which() -> None:
    cipher = TokenCipher([new_key(), new_key()])
    stored = cipher.encrypt(TOKEN, provider_account_id=1)
    assert stored.startswith(cipher.header)
    assert stored[1:5].hex() == cipher.key_ids[0] != cipher.key_ids[1]


@pytest.mark.parametrize("other", [{"provider_account_id": 2}, {"provider_account_id": 1, "provider": "plaid"}])
def test_a_token_of_one_login_is_not_decrypted_for_another(other: dict[str, object]) -> None:
    cipher = TokenCipher([new_key()])
    stored = cipher.encrypt(TOKEN, provider_account_id=1)
    with pytest.raises(TokenUnreadable, match="damaged or that of another login"):
        cipher.decrypt(stored, **other)  # type: ignore[arg-type]


@pytest.mark.parametrize("position", [0, 6, -1])
def test_a_damaged_token_is_refused(position: int) -> None:
    cipher = TokenCipher([new_key()])
    stored = bytearray(cipher.encrypt(TOKEN, provider_account_id=1))
    stored[position] ^= 1
    if position == 0:
        stored[1] ^= 1
    with pytest.raises(TokenUnreadable):
        cipher.decrypt(bytes(stored), provider_account_id=1)


@pytest.mark.parametrize("length", [0, 1, 5, 17, 20])
def test_a_token_that_was_cut_off_is_refused(length: int) -> None:
    cipher = TokenCipher([new_key()])
    stored = cipher.encrypt(TOKEN, provider_account_id=1)[:length]
    with pytest.raises(TokenUnreadable):
        cipher.decrypt(stored, provider_account_id=1)


def test_a_token_of_before_is_decrypted_for_any_login() -> None:
    key = new_key()
    stored = Fernet(key).encrypt(TOKEN.encode())
    assert TokenCipher([new_key(), key]).decrypt(stored, provider_account_id=1) == TOKEN


def test_an_error_for_a_token_without_its_key_names_the_account_and_the_fix() -> None:
    for stored in (
        TokenCipher([new_key()]).encrypt(TOKEN, provider_account_id=7),
        Fernet(new_key()).encrypt(TOKEN.encode()),
    ):
        with pytest.raises(TokenUnreadable, match=r"provider account 7.*add the key"):
            TokenCipher([new_key()]).decrypt(stored, provider_account_id=7)


def test_what_is_no_key_is_refused() -> None:
    with pytest.raises(SettingInvalid, match="SLUICE_KEYS"):
        TokenCipher(["short"])
