"""Pages: one page that shows a sample of messages as their recipients would see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from etl.notify.review.lint import Problem

_DARK_QUERY = "(prefers-color-scheme: dark)"
_ALWAYS, _NEVER = "(min-width: 0)", "(max-width: 0)"


@dataclass(frozen=True)
class ReviewedMessage:
    """A message over one channel.

    Parameters
    ----------
    channel
        Name of the channel.
    parts
        Its rendered texts by name; empty if it could not be rendered.
    size
        Bytes of the mail, or of the payload.
    status
        Why it would not be sent, or not now; empty if it would.
    problems
        What is wrong with it.
    files
        Paths of its files, relative to the page.
    """

    channel: str
    parts: Mapping[str, str] = field(repr=False)
    size: int
    status: str
    problems: Sequence[Problem]
    files: Sequence[str]

    @property
    def light(self) -> str:
        """The mail as a program in light colours shows it."""
        return self.parts.get("html", "").replace(_DARK_QUERY, _NEVER)

    @property
    def dark(self) -> str:
        """The mail as a program in dark colours shows it."""
        return self.parts.get("html", "").replace(_DARK_QUERY, _ALWAYS)


@dataclass(frozen=True)
class ReviewedRecipient:
    """A recipient of a sample.

    Parameters
    ----------
    user_id, locale, time_zone
        The recipient, and what they named.
    messages
        One for each channel.
    """

    user_id: int
    locale: str | None
    time_zone: str | None
    messages: Sequence[ReviewedMessage]

    @property
    def problem_count(self) -> int:
        """Number of problems over all channels."""
        return sum(len(message.problems) for message in self.messages)


def render_index(title: str, recipients: Sequence[ReviewedRecipient]) -> str:
    """Return the page as HTML that needs no other file and no network; frames run no scripts."""
    environment = SandboxedEnvironment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    problem_count = sum(recipient.problem_count for recipient in recipients)
    return environment.get_template("index.html.jinja").render(
        title=title, recipients=recipients, problem_count=problem_count
    )
