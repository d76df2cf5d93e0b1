"""Unsubscribe links: nobody can forge one, and a link reveals nothing to its reader."""

from __future__ import annotations

import timeit
from base64 import urlsafe_b64decode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from etl.declare.notice import Category, Consent
from etl.errors import SettingInvalid, SettingMissing
from etl.notify.unsubscribe_links import UnsubscribeLink, UnsubscribeLinkInvalid, UnsubscribeLinks, UnsubscribeTarget
from etl.settings import LinkSettings

OLD, NEW = "o" * 32, "n" * 32
URL = "https://bank.example/unsubscribe"
REPORTS = Category("reports", Consent.OPT_OUT)
LINKS = UnsubscribeLinks(LinkSettings(URL, keys=(NEW,)))
TOKEN = LINKS.build(4711, REPORTS).url.rpartition("=")[2]


@given(user_id=st.integers(-(2**63), 2**63 - 1), name=st.from_regex(r"[a-z][a-z0-9_]{0,62}", fullmatch=True))
def test_decoded_link_names_its_user_and_category(user_id: int, name: str) -> None:
    category = Category(name, Consent.OPT_IN)
    assert LINKS.decode(LINKS.build(user_id, category).url) == UnsubscribeTarget(user_id, name)


@pytest.mark.parametrize(
    "form", ["{}", " {}\n", URL + "?token={}", "<" + URL + "?a=b&token={}&utm=x>", "unsubscribe {}"]
)
def test_link_is_decoded_in_every_form_that_people_paste(form: str) -> None:
    for token in (TOKEN, TOKEN.upper()):
        assert LINKS.decode(form.format(token)) == UnsubscribeTarget(4711, "reports")


@given(place=st.integers(0, len(TOKEN) - 1), digit=st.sampled_from("0123456789abcdef"))
def test_modified_link_is_refused(place: int, digit: str) -> None:
    changed = TOKEN[:place] + digit + TOKEN[place + 1 :]
    if changed == TOKEN:
        return
    with pytest.raises(UnsubscribeLinkInvalid):
        LINKS.decode(changed)


@given(text=st.text(max_size=200) | st.text("0123456789abcdef", max_size=200))
@example(TOKEN[:-2])
@example(TOKEN[:-1])
@example(TOKEN + "00")
@example("0" * 5_000)
@example(f"?token={TOKEN}&" * 20_000 + "\n\n.")
def test_invalid_link_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(UnsubscribeLinkInvalid) as refused:
        LINKS.decode(text)
    assert str(refused.value) == str(UnsubscribeLinkInvalid())


def test_link_hides_its_user_and_is_the_same_in_every_mail() -> None:
    others = [UnsubscribeLinks(LinkSettings(URL, keys=(NEW,))).build(4711, REPORTS).url for _ in range(2)]
    assert {LINKS.build(4711, REPORTS).url, *others} == {f"{URL}?token={TOKEN}"}
    encrypted = bytes.fromhex(TOKEN)
    assert b"reports" not in encrypted
    assert (4711).to_bytes(2) not in encrypted


def test_first_key_encrypts_and_every_key_decrypts() -> None:
    old, rotated = (UnsubscribeLinks(LinkSettings(URL, keys=keys)) for keys in ((OLD,), (NEW, OLD)))
    assert rotated.decode(old.build(1, REPORTS).url) == UnsubscribeTarget(1, "reports")
    with pytest.raises(UnsubscribeLinkInvalid):
        old.decode(rotated.build(1, REPORTS).url)


def test_access_token_key_is_not_used_directly_for_links() -> None:
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV

    key = "A" * 43 + "="
    token = UnsubscribeLinks(LinkSettings(URL, keys=(key,))).build(1, REPORTS).url.rpartition("=")[2]
    for secret in (urlsafe_b64decode(key), urlsafe_b64decode(key) * 2):
        with pytest.raises(Exception, match=r"^$"):
            AESSIV(secret).decrypt(bytes.fromhex(token), None)


def test_link_is_empty_for_a_mandatory_category_or_without_a_url() -> None:
    assert LINKS.build(1, Category("security", Consent.NONE)) == UnsubscribeLink()
    assert UnsubscribeLinks(LinkSettings(keys=(NEW,))).build(1, REPORTS) == UnsubscribeLink()


def test_link_keeps_the_query_of_its_url_and_has_a_mailto_form() -> None:
    link = UnsubscribeLinks(LinkSettings(URL + "?lang=en", "stop+all@bank.example", (NEW,))).build(4711, REPORTS)
    assert link.url == f"{URL}?lang=en&token={TOKEN}"
    assert link.mailto == f"mailto:stop%2Ball@bank.example?subject=unsubscribe%20{TOKEN}"


def test_decoding_without_a_key_is_refused() -> None:
    with pytest.raises(SettingMissing, match="SLUICE_LINK_KEYS is not set"):
        UnsubscribeLinks(LinkSettings()).decode(TOKEN)


def test_link_keys_come_before_fallback_keys() -> None:
    both = LinkSettings.from_environment({"SLUICE_LINK_KEYS": f"{NEW}, {OLD},", "SLUICE_KEYS": "k"})
    assert both.keys == (NEW, OLD, "k")
    assert LinkSettings.from_environment({}) == LinkSettings()


@pytest.mark.parametrize(
    "url",
    [
        *("http://bank.example/", "bank.example/unsubscribe", "https://", "https:///x", "https://joe:pw@bank.example/"),
        *(URL + "#end", URL + " x", URL + "<", URL + "é", "https://[::1/", URL + "x" * 500, "mailto:joe@bank.example"),
    ],
)
def test_invalid_unsubscribe_url_setting_is_refused(url: str) -> None:
    with pytest.raises(SettingInvalid, match=r"^SLUICE_UNSUBSCRIBE_URL cannot be read; it must hold an https URL"):
        LinkSettings.from_environment({"SLUICE_UNSUBSCRIBE_URL": url, "SLUICE_KEYS": "k"})


@pytest.mark.parametrize("mailto", ["joe", "@bank.example", "joe@", "a@b@c", "a@b, c@d", "a@b?cc=d", "é@b", "<a@b>"])
def test_invalid_unsubscribe_mailto_setting_is_refused(mailto: str) -> None:
    with pytest.raises(SettingInvalid, match="SLUICE_UNSUBSCRIBE_MAILTO"):
        LinkSettings.from_environment({"SLUICE_UNSUBSCRIBE_MAILTO": mailto})


def test_links_need_a_long_key_which_is_never_shown() -> None:
    with pytest.raises(SettingMissing, match="SLUICE_LINK_KEYS is not set"):
        LinkSettings.from_environment({"SLUICE_UNSUBSCRIBE_URL": URL})
    with pytest.raises(SettingInvalid, match="SLUICE_LINK_KEYS") as refused:
        LinkSettings.from_environment({"SLUICE_LINK_KEYS": f"{NEW},short"})
    assert "short" not in str(refused.value)
    assert NEW not in repr(LinkSettings(keys=(NEW,)))


def test_building_a_link_takes_less_than_twenty_microseconds() -> None:
    seconds = min(timeit.repeat(lambda: LINKS.build(4711, REPORTS), number=1_000, repeat=5)) / 1_000
    assert seconds < 20e-6
