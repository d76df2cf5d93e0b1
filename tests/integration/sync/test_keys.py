"""Keys of tokens: counted, rotated while logins are linked, and compared with those of the warehouse."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.fernet import Fernet

from etl.db.connection import Connection
from etl.errors import TokenUnreadable
from etl.sync.logins import keys, link
from etl.sync.logins.keys import WrongKeys
from etl.sync.logins.link import Linking
from etl.sync.logins.store import provider_accounts, token_keys
from etl.sync.logins.store.token_cipher import TokenCipher
from tests.integration.sync.pipeline import Pipeline

Rows = Callable[..., list[tuple[object, ...]]]
OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
COUNT = "select count(*) from core.provider_accounts where substr(access_token, 1, 5) = %s"


def enrol(db: Connection, cipher: TokenCipher, item: str, token: str) -> int:
    return provider_accounts.enrol(db, cipher, provider="p", user="u", item_id=item, access_token=token)


def read(db: Connection, cipher: TokenCipher) -> dict[int, str]:
    stored = db.execute("select provider_account_id, access_token from core.provider_accounts").fetchall()
    return {login: cipher.decrypt(token, provider_account_id=login) for login, token in stored}


def test_tokens_are_encrypted_with_the_first_key_page_by_page(
    db: Connection, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_keys, "PAGE_SIZE", 2)
    tokens = {enrol(db, TokenCipher([OLD]), f"i{n}", f"t{n}"): f"t{n}" for n in range(5)}
    of_before = enrol(db, TokenCipher([OLD]), "of before", "")
    db.execute(
        "update core.provider_accounts set access_token = %s where provider_account_id = %s",
        [Fernet(OLD).encrypt(b"t"), of_before],
    )
    cipher = TokenCipher([NEW, OLD])
    assert [(each.position, each.tokens) for each in keys.count_use(db, cipher)] == [(1, 0), (2, 5), (None, 1)]
    assert keys.rotate(db, cipher) == keys.Rotation(6, [])
    assert read(db, TokenCipher([NEW])) == {**tokens, of_before: "t"}
    assert [(each.position, each.tokens) for each in keys.count_use(db, cipher)] == [(1, 6), (2, 0)]
    assert keys.rotate(db, cipher) == keys.Rotation(0, [])
    assert rows(COUNT, cipher.header) == [(6,)]


def test_tokens_of_oauth_are_rotated_and_stay_bound(db: Connection) -> None:
    old, both = TokenCipher([OLD]), TokenCipher([NEW, OLD])
    login = enrol(db, old, "i", "r")
    for owner, provider, access, refresh in ((0, "a", "a0", "r0"), (0, "b", "a1", None), (login, "p", "a2", None)):
        of = {"provider_account_id": owner, "provider": provider if owner == 0 else ""}
        db.execute(
            "insert into etl.provider_tokens (provider, owner, access_token, refresh_token) values (%s, %s, %s, %s)",
            [provider, owner, *(each and old.encrypt(each, **of) for each in (access, refresh))],  # type: ignore[arg-type]
        )
    assert keys.rotate(db, both) == keys.Rotation(5, [])
    stored = db.execute(
        "select owner, provider, access_token from etl.provider_tokens order by access_token"
    ).fetchall()
    new = TokenCipher([NEW])
    read = {new.decrypt(t, provider_account_id=o, provider=p if o == 0 else "") for o, p, t in stored}
    assert read == {"a0", "a1", "a2"}
    (token,) = (token for owner, provider, token in stored if provider == "a")
    with pytest.raises(TokenUnreadable):
        new.decrypt(token, provider_account_id=0, provider="b")


def test_a_login_that_is_linked_during_a_rotation_keeps_its_new_token(
    db: Connection, connect: Callable[[], Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    cipher, other = TokenCipher([NEW, OLD]), connect()
    login = enrol(db, TokenCipher([OLD]), "i", "first")
    replaced = token_keys.replace

    def link_first(*arguments: object) -> int:
        enrol(other, TokenCipher([OLD]), "i", "second")
        return replaced(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(token_keys, "replace", link_first)
    assert keys.rotate(db, cipher).replaced == 0
    assert read(db, cipher) == {login: "second"}


def test_logins_that_are_linked_all_the_time_lose_no_token_to_a_rotation(
    db: Connection, connect: Callable[[], Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_keys, "PAGE_SIZE", 3)
    cipher, other = TokenCipher([NEW, OLD]), connect()
    for n in range(20):
        enrol(db, TokenCipher([OLD]), f"i{n}", f"{n} 0")

    def link_again() -> dict[int, str]:
        return {
            enrol(other, TokenCipher([OLD] if time % 2 else [NEW]), f"i{n}", f"{n} {time}"): f"{n} {time}"
            for time in range(1, 6)
            for n in range(0, 20, 2)
        }

    with ThreadPoolExecutor(1) as thread:
        linking = thread.submit(link_again)
        for _ in range(10):
            keys.rotate(db, cipher)
        linked = linking.result()
    keys.rotate(db, cipher)
    expected = {login: f"{login - 1} 0" for login in range(1, 21)} | linked
    assert read(db, TokenCipher([NEW])) == expected


def test_a_token_that_no_key_decrypts_is_named_and_stops_no_other(db: Connection, rows: Rows) -> None:
    cipher = TokenCipher([NEW, OLD])
    keys.require_keys(db, cipher)
    lost = enrol(db, TokenCipher([Fernet.generate_key().decode()]), "lost", "t")
    kept = enrol(db, TokenCipher([OLD]), "kept", "t")
    assert keys.rotate(db, cipher) == keys.Rotation(1, [lost])
    (use,) = (each for each in keys.count_use(db, cipher) if each.is_missing)
    assert use.tokens == 1
    ((token,),) = rows("select access_token from core.provider_accounts where provider_account_id = %s", kept)
    assert isinstance(token, bytes)
    assert cipher.decrypt(token, provider_account_id=kept) == "t"


@pytest.mark.parametrize("has_canary", [True, False])
def test_wrong_keys_are_refused_before_a_public_token_is_used(pipeline: Pipeline, *, has_canary: bool) -> None:
    db = pipeline.db
    if has_canary:
        keys.require_keys(db, TokenCipher([OLD]))
    else:
        enrol(db, TokenCipher([OLD]), "i", "t")
    linking = Linking(pipeline.entity.provider, "u", db, TokenCipher([NEW]), pipeline.endpoint, pipeline.limiter)
    with pytest.raises(WrongKeys, match="nothing was done"):
        link.enrol_logins(linking, "public token")
    with pytest.raises(WrongKeys):
        keys.rotate(db, TokenCipher([NEW]))


def test_keys_of_a_new_warehouse_become_its_keys_and_follow_a_rotation(db: Connection) -> None:
    keys.require_keys(db, TokenCipher([OLD]))
    keys.require_keys(db, TokenCipher([NEW, OLD]))
    with pytest.raises(WrongKeys):
        keys.require_keys(db, TokenCipher([NEW]))
    keys.rotate(db, TokenCipher([NEW, OLD]))
    keys.require_keys(db, TokenCipher([NEW]))
    with pytest.raises(WrongKeys):
        keys.require_keys(db, TokenCipher([OLD]))


def test_a_swapped_token_is_not_used_for_another_login(db: Connection) -> None:
    cipher = TokenCipher([OLD])
    first, second = enrol(db, cipher, "a", "of a"), enrol(db, cipher, "b", "of b")
    db.execute(
        "update core.provider_accounts set access_token = (select access_token from core.provider_accounts "
        "where provider_account_id = %s) where provider_account_id = %s",
        [first, second],
    )
    with pytest.raises(TokenUnreadable, match=f"provider account {second}.*another login"):
        read(db, cipher)
