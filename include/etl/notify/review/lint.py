"""Lint: what is wrong with a rendered message, as far as a program can tell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.policy import default
from html.parser import HTMLParser
from urllib.parse import urlsplit

from etl.declare.channel import Channel

GMAIL_LIMIT = 102 * 1024
"""Bytes of a mail after which Gmail hides the rest, and with it the link to unsubscribe."""

_MAX_SUBJECT_LENGTH = 78
"""Characters that mail programs show of a subject at best."""

_URL = re.compile(r"https?://[^\s<>\"']+")
_LEFTOVERS = re.compile(r"\b(?:None|nan|NaN|NaT|null|undefined|Undefined)\b|\{\{|\}\}|\{%|%\}|%\(\w+\)s")
"""What a missing value, or a template that was not rendered, leaves behind."""

_RESERVED_HOSTS = re.compile(r"(?:.+\.)?(?:example(?:\.(?:com|net|org))?|test|invalid|localhost)")
"""Hosts that never exist on the internet (RFC 2606, RFC 6761)."""

_HOST = re.compile(r"(?=.{1,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]")
_PLACEHOLDERS = re.compile(r"[{}<>]|%7[BD]|TODO|XXX|…", re.IGNORECASE)
_HARMLESS_SCHEMES = ("mailto", "tel", "cid")
_ISOLATES = "\u2066\u2067\u2068\u2069"


@dataclass(frozen=True)
class Problem:
    """Something wrong with a message.

    Parameters
    ----------
    part
        Part of the message, such as `subject`; or `headers`, or `size`.
    detail
        What was found, and what to do.
    """

    part: str
    detail: str

    def __str__(self) -> str:
        return f"{self.part}: {self.detail}"


def find_problems(channel: Channel, parts: dict[str, str], *, mail: bytes = b"", is_refusable: bool) -> list[Problem]:
    """Return what is wrong with a message.

    Parameters
    ----------
    parts
        Its rendered texts, by name.
    mail
        What a mail server would get; empty if it is no mail.
    is_refusable
        Whether its recipient may unsubscribe.
    """
    problems = [problem for part, text in parts.items() for problem in _check_part(channel, part, text)]
    if mail:
        problems += _check_headers(mail, is_refusable=is_refusable)
        if len(mail) > GMAIL_LIMIT:
            problems.append(
                Problem("size", f"{len(mail):,} bytes, of which Gmail shows the first {GMAIL_LIMIT:,}; shorten it")
            )
    return list(dict.fromkeys(problems))


def check_url(url: str) -> str:
    """Return why nobody should be sent a link; empty if it is fine."""
    if _PLACEHOLDERS.search(url):
        return "it holds a placeholder"
    try:
        parsed = urlsplit(url)
        host, _ = parsed.hostname or "", parsed.port
    except ValueError:
        return "it is malformed"
    if parsed.scheme in _HARMLESS_SCHEMES:
        return "" if parsed.path else "it names nobody"
    if parsed.scheme != "https":
        return "it is not encrypted; write https" if parsed.scheme == "http" else "it has no https"
    if _RESERVED_HOSTS.fullmatch(host):
        return f"{host} does not exist on the internet"
    return "" if _HOST.fullmatch(host) and not parsed.username else "its host is malformed"


class _Reader(HTMLParser):
    """Collects the links, the visible text and the images without a description of a mail."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.texts: list[str] = []
        self.undescribed_images = 0
        self._hidden = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.urls += [values[name] or "" for name in ("href", "src", "background", "action") if name in values]
        if tag == "img" and "alt" not in values:
            self.undescribed_images += 1
        if tag in ("style", "script"):
            self._hidden = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == self._hidden:
            self._hidden = ""

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.texts.append(data)


def _check_part(channel: Channel, part: str, text: str) -> Iterator[Problem]:
    is_link = part == "url"
    if not text.strip():
        if not is_link:
            yield Problem(part, "it is empty")
        return
    visible, urls = text, [text] if is_link else [url.rstrip(".,;:!?)]") for url in _URL.findall(text)]
    if part == "html":
        reader = _Reader()
        reader.feed(text)
        reader.close()
        visible, urls = " ".join(reader.texts), reader.urls
        if reader.undescribed_images:
            yield Problem(part, f"{reader.undescribed_images} images have no alt text")
    for url in urls:
        if problem := check_url(url):
            yield Problem(part, f"link {url[:100]!r}: {problem}")
    for leftover in dict.fromkeys(_LEFTOVERS.findall(visible)):
        yield Problem(part, f"it shows {leftover!r}, as if a value were missing")
    if part in channel.lines and not is_link and any(_is_control(char) for char in text):
        yield Problem(part, "it holds control characters")
    if part == "subject" and len(text) > _MAX_SUBJECT_LENGTH:
        yield Problem(part, f"it has {len(text)} characters, of which at most {_MAX_SUBJECT_LENGTH} are shown")


def _check_headers(mail: bytes, *, is_refusable: bool) -> Iterator[Problem]:
    message = message_from_bytes(mail, policy=default)
    if is_refusable and not message["List-Unsubscribe"]:
        yield Problem("headers", "there is no List-Unsubscribe; set SLUICE_UNSUBSCRIBE_URL")
    sender = message["From"].addresses[0].domain.lower() if message["From"] and message["From"].addresses else ""
    if not sender or _RESERVED_HOSTS.fullmatch(sender):
        yield Problem("headers", f"the sender's domain {sender!r} does not exist; set from_email in its connection")
    if str(message["Message-ID"] or "").rstrip(">").rpartition("@")[2].lower() != sender:
        yield Problem("headers", "Message-ID has another domain than From, which mail servers distrust")


def _is_control(char: str) -> bool:
    return not char.isprintable() and char not in _ISOLATES
