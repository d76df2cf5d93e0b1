"""From facts to a mail, as text and as HTML; the words stand in `templates/`."""

from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from etl.alerts.alert import Failure, Kind, News
from etl.alerts.formatting import clock, counted, spoken
from etl.clients.mail import Mail

TEMPLATES = Path(__file__).parent / "templates"
_COLOURS = {Kind.FORECAST: "#b45309", Kind.MISSED: "#b91c1c", Kind.RECOVERED: "#15803d", Kind.FAILED: "#b91c1c"}
_LABELS = {Kind.FORECAST: "going to be late", Kind.MISSED: "late", Kind.RECOVERED: "recovered", Kind.FAILED: "failed"}
_LONGEST_SUBJECT = 150


def compose(news: News) -> Mail:
    """Return the mail that tells some news."""
    headline = " ".join(_headline(news).split())
    values = {
        "news": news,
        "headline": headline,
        "label": _LABELS[news.kind],
        "colour": _COLOURS[news.kind],
        "facts": _facts(news),
        "failures": [(_place(failure), failure) for failure in news.failures],
        "then": _then(news),
    }
    text, html = (_templates().get_template(f"alert.{form}.jinja").render(values) for form in ("txt", "html"))
    return Mail(headline[:_LONGEST_SUBJECT], text, html)


@cache
def _templates() -> SandboxedEnvironment:
    return SandboxedEnvironment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=lambda name: name is not None and ".html" in name,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _headline(news: News) -> str:
    late = _late(news)
    match news.kind:
        case Kind.FORECAST:
            by = f" by about {spoken(late)}" if late else ""
            return f"{news.dag_id} is going to be late{by}"
        case Kind.MISSED:
            expected = f", expected at {_at(news.finish_at, news)}" if news.finish_at else ""
            return f"{news.dag_id} is late{expected}"
        case Kind.RECOVERED:
            if late is None:
                return f"{news.dag_id} is done"
            return f"{news.dag_id} is done, {_lateness(late)}"
        case Kind.FAILED:
            if not news.failures:
                return f"{news.dag_id} failed" + (f": {news.reason.replace('_', ' ')}" if news.reason else "")
            first = news.failures[0]
            return f"{news.dag_id} failed: {first.error_type or 'no word'} from {_task(first)}"


def _facts(news: News) -> list[tuple[str, str]]:
    """Return what a glance should catch, as pairs of name and value; what is not known is left out."""
    late = _late(news)
    facts = [("Promised by", _at(news.promised_by, news))]
    match news.kind:
        case Kind.FORECAST | Kind.MISSED:
            facts.append(("Expected at", f"{_at(news.finish_at, news)}, {_lateness(late)}" if late is not None else ""))
            facts.append(("Because", news.basis))
        case Kind.RECOVERED:
            facts.append(("Done at", f"{_at(news.finish_at, news)}, {_lateness(late)}" if late is not None else ""))
        case Kind.FAILED:
            facts.append(("Failed at", _at(news.finish_at, news)))
            facts.append(("Failed tasks", f"{news.failed_tasks}" if news.failed_tasks > len(news.failures) else ""))
    if news.kind is Kind.RECOVERED and news.started_at and news.finish_at:
        facts.append(("Took", spoken(news.finish_at - news.started_at)))
    if news.kind in (Kind.RECOVERED, Kind.FAILED) and news.progress.chunks:
        facts.append(("Loaded", f"{news.progress.loaded} of {counted(news.progress.chunks, 'chunk')}"))
    if news.rejected:
        shown = ", ".join(f"{item.rejects:,} by {item.rule}" for item in news.rejected)
        facts.append(("Records left out", shown))
    facts.append(("Started at", _at(news.started_at, news) or "not yet"))
    if news.interval:
        first, last = news.interval
        facts.append(("About", f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"))
    facts.append(("Run", news.run_id))
    return [(name, value) for name, value in facts if value]


def _then(news: News) -> str:
    """Return what happens next, so that nobody need wonder."""
    match news.kind:
        case Kind.FORECAST:
            return "Nothing is lost. One more mail follows if the promise is missed, and one when the run is done."
        case Kind.MISSED:
            return "The run goes on. One more mail follows when it is done, or if it fails."
        case Kind.RECOVERED:
            return "Nothing is left to do. This was the last mail about this run."
        case Kind.FAILED if not news.is_made_up_for:
            return (
                "What was done stays; nothing of the rest is lost. Mend the cause and clear the failed tasks: they go "
                "on where they stopped, and no other run does it for them. No mail follows about this run's promise."
            )
        case Kind.FAILED:
            return (
                "What was loaded stays; nothing of the rest is lost. Mend the cause and clear the failed tasks, "
                "or let the next run make up for it. No mail follows about this run's promise."
            )


def _late(news: News) -> timedelta | None:
    if news.finish_at is None or news.promised_by is None:
        return None
    return news.finish_at - news.promised_by


def _lateness(late: timedelta | None) -> str:
    if late is None:
        return ""
    return f"{spoken(late)} late" if late > timedelta() else f"in time by {spoken(late)}"


def _at(at: datetime | None, news: News) -> str:
    return clock(at, seen_from=news.as_of) if at else ""


def _task(failure: Failure) -> str:
    return failure.task_id.rpartition(".")[2]


def _place(failure: Failure) -> str:
    chunk = f", chunk {failure.map_index + 1}" if failure.map_index >= 0 else ""
    tries = f", attempt {failure.attempt}" if failure.attempt > 1 else ""
    return f"{_task(failure)}{chunk}{tries}"
