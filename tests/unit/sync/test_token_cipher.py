import pytest
from cryptography.fernet import Fernet

from etl.errors import TokenUnreadable
from etl.sync.store.token_cipher import TokenCipher


def test_a_token_outlives_the_rotation_of_its_key() -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    stored = TokenCipher([old]).encrypt("access-sandbox-1")
    assert b"access" not in stored
    assert TokenCipher([new, old]).decrypt(stored, provider_account_id=1) == "access-sandbox-1"


def test_a_token_whose_key_is_gone_names_the_account_and_the_remedy() -> None:
    stored = TokenCipher([Fernet.generate_key().decode()]).encrypt("access-sandbox-1")
    with pytest.raises(TokenUnreadable, match=r"provider account 7.*put the key"):
        TokenCipher([Fernet.generate_key().decode()]).decrypt(stored, provider_account_id=7)
