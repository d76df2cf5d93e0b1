"""The templates of notices, without rendering: every branch is read, also those that no sample of recipients takes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from itertools import chain
from pathlib import Path

from jinja2 import TemplateNotFound, TemplateSyntaxError, meta, nodes
from jinja2.sandbox import SandboxedEnvironment

from etl.declare.fault import DeclarationFault, from_error, project_path
from etl.declare.notice import RECIPIENT_VALUES, Notice
from etl.declare.timing.locales import iter_fallbacks
from etl.notify.templates import TemplateBroken, build_environment, find_translations

_SHARED_VALUES = ("period", "as_of")
"""Values of a run that its templates get beside its parameters."""

_GUARDS = ("defined", "undefined", "default", "d")
"""Tests and filters of a variable that need not be there."""


_UNTRANSLATED_PARTS = ("url",)
"""Parts without words."""


def template_values(notice: Notice, columns: Collection[str]) -> tuple[str, ...]:
    """Return the names of the values that the templates of a notice get."""
    return tuple(dict.fromkeys((*columns, *notice.parameters, *_SHARED_VALUES, *RECIPIENT_VALUES)))


def find_template_faults(
    notice: Notice, columns: Collection[str] | None, *, root: Path | None = None
) -> Iterator[DeclarationFault]:
    """Yield the faults of the templates of a notice, each with its file, and with its line if that is known.

    Parameters
    ----------
    columns
        Columns of its audience; None if they are not known, so that variables cannot be checked.
    root
        Folder that has a folder of templates per notice; None for those of the catalogue.
    """
    environment = build_environment(notice, root)
    known = None if columns is None else template_values(notice, columns)
    try:
        translations = find_translations(notice, root)
    except TemplateBroken as broken:
        yield DeclarationFault(notice.name, broken.location, str(broken).removeprefix(f"{broken.location}: "))
        return
    names = (*notice.template_names, *chain.from_iterable(translations.values()))
    # A fault of a shared template is found by each that extends it.
    yield from dict.fromkeys(fault for name in names for fault in _check(notice, environment, name, known))
    yield from _find_missing_parts(notice, environment, translations)


def _find_missing_parts(
    notice: Notice, environment: SandboxedEnvironment, translations: Mapping[str, Collection[str]]
) -> Iterator[DeclarationFault]:
    """Yield the parts that a translated message lacks, so that it would be in two languages."""
    for tag, names in translations.items():
        found = {name for each in iter_fallbacks(tag) for name in translations.get(each, ())}
        for channel in notice.channels:
            own = [name for name in names if name.startswith(f"{channel.name}.")]
            for part in channel.parts if own else ():
                wanted = [f"{channel.name}.{part}.{each}.jinja" for each in iter_fallbacks(tag)]
                if part not in _UNTRANSLATED_PARTS and not found.intersection(wanted):
                    yield DeclarationFault(
                        notice.name,
                        _path(environment, own[0]),
                        f"it is in {tag}, but {wanted[0]} is missing, so that the message would be in two languages; "
                        "write it",
                    )


def _check(
    notice: Notice, environment: SandboxedEnvironment, name: str, known: Collection[str] | None
) -> Iterator[DeclarationFault]:
    """Check a template and those that it extends or includes."""
    trees: dict[str, nodes.Template] = {}
    waiting = [name]
    while waiting:
        current = waiting.pop()
        found = _parse(notice, environment, current, requested_by=name)
        if isinstance(found, DeclarationFault):
            yield found
            return
        trees[current] = found
        waiting += [each for each in meta.find_referenced_templates(found) if each and each not in trees]
    if known is None:
        return
    assigned = {each.name for tree in trees.values() for each in tree.find_all(nodes.Name) if each.ctx == "store"}
    for current, tree in trees.items():
        guarded = set(_find_guarded(tree))
        for variable in sorted(meta.find_undeclared_variables(tree) - set(known) - assigned - guarded):
            line = next(each.lineno for each in tree.find_all(nodes.Name) if each.name == variable)
            path = _path(environment, current)
            yield DeclarationFault(notice.name, f"{path}:{line}", _describe(notice, variable, known))


def _parse(
    notice: Notice, environment: SandboxedEnvironment, name: str, *, requested_by: str
) -> nodes.Template | DeclarationFault:
    try:
        environment.get_template(name)  # Compiled, too, which finds unknown filters.
        return environment.parse(_source(environment, name)[0], name)
    except TemplateNotFound:
        where = _path(environment, requested_by)
        return DeclarationFault(notice.name, where, f"it needs {name}, which is not there; write it, or fix the name")
    except TemplateSyntaxError as error:
        where = f"{_path(environment, name)}:{error.lineno}"
        detail = (error.message or "it is no template").removesuffix(".")
        return DeclarationFault(notice.name, where, f"{detail}; fix the template")
    except PermissionError as error:
        return from_error(notice.name, Path(error.filename), error)


def _path(environment: SandboxedEnvironment, name: str) -> str:
    path = _source(environment, name)[1]
    return name if path is None else project_path(Path(path))


def _source(environment: SandboxedEnvironment, name: str) -> tuple[str, str | None]:
    """Return the text of a template, and its file."""
    if environment.loader is None:
        raise TemplateNotFound(name)
    text, path, _ = environment.loader.get_source(environment, name)
    return text, path


def _find_guarded(tree: nodes.Template) -> Iterator[str]:
    """Yield the variables that a template uses only if they are there."""
    for node in (*tree.find_all(nodes.Test), *tree.find_all(nodes.Filter)):
        if node.name in _GUARDS and isinstance(node.node, nodes.Name):
            yield node.node.name


def _describe(notice: Notice, variable: str, known: Collection[str]) -> str:
    close = get_close_matches(variable, known, n=1)
    guess = f"did you mean {close[0]}? " if close else ""
    return (
        f"notice {notice.name}: there is no {variable}; {guess}Its values are {', '.join(sorted(known))}; another one "
        "needs a column of `recipients` or a parameter"
    )
