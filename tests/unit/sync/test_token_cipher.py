import pytest
from cryptography.fernet import Fernet

from etl.errors import TokenUnreadable
from etl.sync.logins.store.token_cipher import TokenCipher


def test_a_token_stays_readable_after_a_rotation_of_its_key() -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    stored = TokenCipher([old]).encrypt("access-sandbox-1")
    assert b"access" not in stored
    assert TokenCipher([new, old]).decrypt(stored, provider_account_id=1) == "access-sandbox-1"


def test_an_error_for_a_token_without_its_key_names_the_account_and_the_fix() -> None:
    stored = TokenCipher([Fernet.generate_key().decode()]).encrypt("access-sandbox-1")
    with pytest.raises(TokenUnreadable, match=r"provider account 7.*add the key"):
        TokenCipher([Fernet.generate_key().decode()]).decrypt(stored, provider_account_id=7)
