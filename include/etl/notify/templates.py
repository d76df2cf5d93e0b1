"""The templates of a notice, compiled once and rendered for each recipient."""

from __future__ import annotations

import traceback
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
from etl.inline_css import InlinedStyles
from etl.safe_text import join_rendered, mark_amount, mark_ours, pad_left, pad_right, render_safely, sanitize_text

_DEFAULT_DECIMALS = 2


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
        context = {**values, "unsubscribe_url": mark_ours(unsubscribe_url)}
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
            return str(self._templates[name].render(values))
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


class _Environment(SandboxedEnvironment):
    """An environment in which what a block or a macro rendered is not sanitized again."""

    concat = staticmethod(join_rendered)


def build_environment(notice: Notice, root: Path | None = None) -> SandboxedEnvironment:
    """Return the environment in which the templates of a notice are compiled and rendered; see `Templates`."""
    environment = _Environment(
        loader=FileSystemLoader(_template_folders(notice, root)),
        autoescape=lambda name: name is not None and ".html." in name,
        finalize=render_safely,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
        extensions=[InlinedStyles],
    )
    environment.filters |= {
        "money": _show_money,
        "sanitize": sanitize_text,
        "ours": mark_ours,
        "left": pad_right,
        "right": pad_left,
    }
    return environment


def _template_folders(notice: Notice, root: Path | None) -> Sequence[Path]:
    return (root / notice.name, root) if root else catalog_folder.find().template_folders(notice.name)


def format_money(amount: str | Decimal, currency: str) -> str:
    """Return an amount with as many decimals as its currency has, such as `1,234.50 USD`."""
    decimals = decimals_by_code().get(currency)
    return f"{Decimal(amount):,.{_DEFAULT_DECIMALS if decimals is None else decimals}f} {currency}"


def _show_money(amount: str | Decimal, currency: str) -> str:
    return mark_amount(format_money(amount, currency), currency)


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
