"""The templates of a notice, compiled once and rendered for each recipient."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from jinja2 import FileSystemLoader, StrictUndefined, Template, TemplateNotFound, TemplateSyntaxError
from jinja2.sandbox import SandboxedEnvironment

from etl import catalog_folder
from etl.declare.fault import project_path
from etl.declare.notice import Channel, Notice
from etl.declare.timing.locales import find_locale, iter_fallbacks, language_of, to_tag
from etl.declare.timing.zones import find_zone
from etl.errors import PermanentError
from etl.inline_css import InlinedStyles
from etl.notify.formats import Formatter
from etl.safe_text import join_rendered, mark_ours, pad_left, pad_right, render_safely, sanitize_text


class TemplateBroken(PermanentError):
    """A template cannot be compiled, or cannot be rendered for a recipient."""

    def __init__(self, location: str, detail: str) -> None:
        super().__init__(
            f"{location}: {detail}; fix the template, or let the statement `recipients` return its values."
        )
        self.location = location


class Templates:
    """The templates of a notice, in one or several languages.

    A part of a message may have further templates whose names hold a language or locale, as `email.text.de.jinja`. Its
    recipients get the one that suits them best: in `de-AT` that of `de-AT`, of `de`, or else `email.text.jinja`.

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
        self._formatter = Formatter(notice.locale, notice.time_zone)
        environment = build_environment(notice, root, self._formatter)
        self._folders = _template_folders(notice, root)
        self._notice = notice
        self._translations = find_translations(notice, root)
        names = (*notice.template_names, *chain.from_iterable(self._translations.values()))
        self._templates = {name: self._compile(environment, name) for name in names}

    @property
    def locales(self) -> tuple[str, ...]:
        """Locales in which it has templates, that of the notice first."""
        return (self._notice.locale, *self._translations)

    def render(
        self,
        channel: Channel,
        values: Mapping[str, object],
        *,
        unsubscribe_url: str = "",
        locale: str | None = None,
        time_zone: str | None = None,
    ) -> dict[str, str]:
        """Return the parts of a message for one recipient.

        Parameters
        ----------
        channel
            Channel of the message; its parts are rendered.
        values
            Values by name, for the templates.
        unsubscribe_url
            A further value: the link to unsubscribe from its category; empty if there is none.
        locale, time_zone
            Those that the recipient named, or None. Templates get those that are used: the locale is the recipient's
            if it is of the language of the templates, and the notice's otherwise.

        Raises
        ------
        TemplateBroken
            If a template fails; names its file and line, and never contains a value.
        """
        translations, used_locale = self._choose(channel, locale)
        used_zone = time_zone if time_zone and find_zone(time_zone) else self._notice.time_zone
        self._formatter.use(used_locale, used_zone)
        shared = {
            "unsubscribe_url": mark_ours(unsubscribe_url),
            "locale": mark_ours(used_locale),
            "time_zone": mark_ours(used_zone),
        }
        context = {**values, **shared}
        parts = {part: self._render(self._name(channel, part, translations), context) for part in channel.parts}
        return parts | {part: " ".join(parts[part].split()) for part in channel.lines}

    def _choose(self, channel: Channel, locale: str | None) -> tuple[Sequence[str], str]:
        """Return the translations of a channel that suit a recipient, the best first, and the locale to format in."""
        found = find_locale(locale)
        if found is None:
            return (), self._notice.locale
        tag = to_tag(found)
        translations = [
            candidate
            for candidate in iter_fallbacks(tag)
            if any(name.startswith(f"{channel.name}.") for name in self._translations.get(candidate, ()))
        ]
        is_understood = translations or language_of(tag) == language_of(self._notice.locale)
        return translations, tag if is_understood else self._notice.locale

    def _name(self, channel: Channel, part: str, translations: Sequence[str]) -> str:
        names = (f"{channel.name}.{part}.{translation}.jinja" for translation in translations)
        return next((name for name in names if name in self._templates), f"{channel.name}.{part}.jinja")

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


def build_environment(
    notice: Notice, root: Path | None = None, formatter: Formatter | None = None
) -> SandboxedEnvironment:
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
        **(formatter or Formatter()).filters,
        "sanitize": sanitize_text,
        "ours": mark_ours,
        "left": pad_right,
        "right": pad_left,
    }
    return environment


def find_translations(notice: Notice, root: Path | None = None) -> dict[str, tuple[str, ...]]:
    """Return the names of the templates of a notice that are for one locale, by the tag of the locale.

    Parameters
    ----------
    root
        As for `Templates`.

    Raises
    ------
    TemplateBroken
        If the tag of one is none that a recipient can have, so that nobody would ever get it.
    """
    parts = "|".join(re.escape(f"{channel.name}.{part}") for channel in notice.channels for part in channel.parts)
    pattern = re.compile(rf"(?:{parts})\.([^.]+)\.jinja")
    names: dict[str, set[str]] = {}
    for folder in _template_folders(notice, root):
        for path in folder.iterdir() if folder.is_dir() else ():
            match = pattern.fullmatch(path.name)
            if match is None:
                continue
            locale = find_locale(match[1])
            if locale is None or to_tag(locale) != match[1]:
                raise TemplateBroken(
                    project_path(path), f"{match[1]!r} is no language, or no language and region, as in de or de-AT"
                )
            names.setdefault(match[1], set()).add(path.name)
    return {tag: tuple(sorted(found)) for tag, found in sorted(names.items())}


def _template_folders(notice: Notice, root: Path | None) -> Sequence[Path]:
    return (root / notice.name, root) if root else catalog_folder.find().template_folders(notice.name)


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
