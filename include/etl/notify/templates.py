"""The templates of a notice, compiled once and rendered for each recipient."""

from __future__ import annotations

import traceback
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import chain
from pathlib import Path

from jinja2 import FileSystemLoader, StrictUndefined, Template, TemplateNotFound, TemplateSyntaxError
from jinja2.sandbox import SandboxedEnvironment

from etl import catalog_folder
from etl.currency import decimals_by_code
from etl.declare.fault import project_path
from etl.declare.notice import Channel, Notice
from etl.errors import PermanentError

_DEFAULT_DECIMALS = 2

_FIRST_STRONG_ISOLATE, _POP_ISOLATE = "\u2068", "\u2069"
_RIGHT_TO_LEFT_CLASSES = {"R", "AL", "AN"}
_INVISIBLE_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn"}
_JOINERS = "\u200c\u200d"
"""Persian, Hindi and emoji of several characters need these."""


class TemplateBroken(PermanentError):
    """A template cannot be compiled, or cannot be rendered for a recipient."""

    def __init__(self, location: str, detail: str) -> None:
        super().__init__(
            f"{location}: {detail}; fix the template, or let the statement `recipients` return its values."
        )
        self.location = location


class Templates:
    """The templates of a notice.

    Parameters
    ----------
    notice
        The notice.
    root
        Folder that has a folder of templates per notice; None for those of the catalogue in use.

    Raises
    ------
    TemplateBroken
        If a template cannot be compiled; names its file and line.
    """

    def __init__(self, notice: Notice, root: Path | None = None) -> None:
        environment = build_environment(notice, root)
        self._folders = _template_folders(notice, root)
        self._templates = {name: self._compile(environment, name) for name in notice.template_names}

    def render(self, channel: Channel, values: Mapping[str, object], *, unsubscribe_url: str = "") -> dict[str, str]:
        """Return the parts of a message for one recipient.

        Parameters
        ----------
        channel
            Channel of the message; its parts are rendered.
        values
            Values by name, for the templates.
        unsubscribe_url
            A further value: the link to unsubscribe from its category; empty if there is none.

        Raises
        ------
        TemplateBroken
            If a template fails; names its file and line, and never contains a value.
        """
        context = {**values, "unsubscribe_url": unsubscribe_url}
        parts = {part: self._render(f"{channel.name}.{part}.jinja", context) for part in channel.parts}
        return parts | {part: " ".join(parts[part].split()) for part in channel.lines}

    def _compile(self, environment: SandboxedEnvironment, name: str) -> Template:
        try:
            return environment.get_template(name)
        except TemplateNotFound:
            raise TemplateBroken(project_path(self._folders[0] / name), "there is no such file") from None
        except TemplateSyntaxError as error:
            path = Path(error.filename) if error.filename else self._folders[0] / name
            raise TemplateBroken(f"{project_path(path)}:{error.lineno}", error.message or "") from None
        except PermissionError as error:
            raise TemplateBroken(project_path(Path(error.filename)), "it may not be read") from None

    def _render(self, name: str, values: Mapping[str, object]) -> str:
        try:
            return self._templates[name].render(values)
        except Exception as error:  # noqa: BLE001 - a template may fail in any way
            detail = _redact_values(values, _first_line(error))
            raise TemplateBroken(self._error_location(name, error), f"{type(error).__name__}: {detail}") from None

    def _error_location(self, name: str, error: Exception) -> str:
        """Return file and line of the innermost template in an error's traceback."""
        lines = [
            f"{project_path(Path(frame.filename))}:{frame.lineno}"
            for frame in traceback.extract_tb(error.__traceback__)
            if any(Path(frame.filename).is_relative_to(folder) for folder in self._folders)
        ]
        return lines[-1] if lines else project_path(self._folders[0] / name)


def build_environment(notice: Notice, root: Path | None = None) -> SandboxedEnvironment:
    """Return the environment in which the templates of a notice are compiled and rendered; see `Templates`."""
    environment = SandboxedEnvironment(
        loader=FileSystemLoader(_template_folders(notice, root)),
        autoescape=lambda name: name is not None and ".html." in name,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
    )
    environment.filters |= {"money": format_money, "sanitize": sanitize_text}
    return environment


def _template_folders(notice: Notice, root: Path | None) -> Sequence[Path]:
    return (root / notice.name, root) if root else catalog_folder.find().template_folders(notice.name)


def format_money(amount: str | Decimal, currency: str) -> str:
    """Return an amount with as many decimals as its currency has, such as `1,234.50 USD`."""
    decimals = decimals_by_code().get(currency)
    return f"{Decimal(amount):,.{_DEFAULT_DECIMALS if decimals is None else decimals}f} {currency}"


def sanitize_text(text: str, max_length: int = 60) -> str:
    """Return a name from a bank in a form that cannot disturb the text around it.

    The result is one line of at most `max_length` characters, without invisible characters. If it has right-to-left
    characters, it is isolated, so that they do not reorder the text that follows.

    Source: Unicode Standard Annex 9, "Unicode Bidirectional Algorithm", 2.4, "Explicit Directional Isolates".
    """
    visible = "".join(" " if char.isspace() else char for char in text if char.isspace() or _is_visible(char))
    line = " ".join(visible.split())
    if len(line) > max_length:
        line = line[: max_length - 1].rstrip() + "…"
    has_right_to_left = any(unicodedata.bidirectional(char) in _RIGHT_TO_LEFT_CLASSES for char in line)
    return f"{_FIRST_STRONG_ISOLATE}{line}{_POP_ISOLATE}" if has_right_to_left else line


def _is_visible(char: str) -> bool:
    return char in _JOINERS or unicodedata.category(char) not in _INVISIBLE_CATEGORIES


def _redact_values(values: Mapping[str, object], message: str) -> str:
    """Return an error message without the text values that it quotes; names of values may stay."""
    for text in sorted(set(_iter_strings(values)) - set(values), key=len, reverse=True):
        message = message.replace(repr(text), "'…'")
    return message


def _iter_strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from chain.from_iterable(map(_iter_strings, value.values()))
    elif isinstance(value, list):
        yield from chain.from_iterable(map(_iter_strings, value))


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")
