"""Templates of mails that hold classes: their stylesheet becomes `style` attributes, which mail programs understand.

This is done once for a template, when it is compiled, and not for each mail.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import count

from css_inline import CSSInliner
from jinja2 import TemplateNotFound
from jinja2.ext import Extension

STYLESHEET = "layout.css"
"""Template with the rules, found like all others."""

_JINJA = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_BODY = re.compile(r"(.*<body\b[^>]*>)(.*)(</body>.*)", re.DOTALL)
_OPEN, _CLOSE = "\ue000", "\ue001"
"""Of a placeholder; for private use, so no template has them."""
_PLACEHOLDER = re.compile(rf"(?:<|&lt;)!--{_OPEN}(\d+){_CLOSE}--(?:>|&gt;)|{_OPEN}(\d+){_CLOSE}")


class InlinedStyles(Extension):
    """Inlines the stylesheet into the HTML of each template; without a stylesheet it changes nothing."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:  # noqa: ARG002 - Jinja's
        """Return the source of a template as it is compiled; its lines keep their numbers."""
        if name is None or ".html." not in name or self.environment.loader is None:
            return source
        try:
            rules, _, _ = self.environment.loader.get_source(self.environment, STYLESHEET)
        except TemplateNotFound:
            return source
        return inline_css(source, rules)


def inline_css(source: str, rules: str) -> str:
    """Return a template whose elements have the rules that concern them as `style` attributes.

    Rules match within one template, so they name classes, and no elements around a block. Of a whole document only what
    is in its body changes. Tags of Jinja may stand between elements, in text and in quoted attributes, and expressions
    not between the rows of a table, where HTML allows no text.
    """
    head, body, tail = match.groups() if (match := _BODY.fullmatch(source)) else ("", source, "")
    tags = _JINJA.findall(body)
    ordinals = count()
    marked = _JINJA.sub(lambda tag: _placeholder(tag[0], next(ordinals)), body)
    inlined = _inliner().inline_fragment(marked, rules)
    if "<tbody" not in body:
        inlined = re.sub(r"</?tbody>", "", inlined)  # The parser opens one after the tag of a loop.
    return head + _PLACEHOLDER.sub(lambda found: tags[int(found[1] or found[2])], inlined) + tail


def _placeholder(tag: str, ordinal: int) -> str:
    text = f"{_OPEN}{ordinal}{_CLOSE}"
    return text if tag.startswith("{{") else f"<!--{text}-->"


@cache
def _inliner() -> CSSInliner:
    return CSSInliner(load_remote_stylesheets=False)
