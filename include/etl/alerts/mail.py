"""From facts to a mail, as text and as HTML; the words stand in `templates/`."""

from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from etl.alerts.alert import Alert, AlertKind, TaskFailure
from etl.alerts.formatting import format_duration, format_time, pluralize
from etl.clients.mail import MailContent

TEMPLATE_FOLDER = Path(__file__).parent / "templates"
_COLOURS = {
    AlertKind.FORECAST: "#b45309",
    AlertKind.MISSED: "#b91c1c",
    AlertKind.RECOVERED: "#15803d",
    AlertKind.FAILED: "#b91c1c",
}
_LABELS = {
    AlertKind.FORECAST: "going to be late",
    AlertKind.MISSED: "late",
    AlertKind.RECOVERED: "recovered",
    AlertKind.FAILED: "failed",
}
_MAX_SUBJECT_LENGTH = 150


def compose(alert: Alert) -> MailContent:
    """Return the mail that tells some news."""
    headline = " ".join(_headline(alert).split())
    values = {
        "alert": alert,
        "headline": headline,
        "label": _LABELS[alert.kind],
        "colour": _COLOURS[alert.kind],
        "facts": _facts(alert),
        "failures": [(_describe_task(failure), failure) for failure in alert.failures],
        "next_steps": _next_steps(alert),
    }
    text, html = (_templates().get_template(f"alert.{form}.jinja").render(values) for form in ("txt", "html"))
    return MailContent(headline[:_MAX_SUBJECT_LENGTH], text, html)


@cache
def _templates() -> SandboxedEnvironment:
    return SandboxedEnvironment(
        loader=FileSystemLoader(TEMPLATE_FOLDER),
        autoescape=lambda name: name is not None and ".html" in name,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _headline(alert: Alert) -> str:
    late = _delay(alert)
    match alert.kind:
        case AlertKind.FORECAST:
            by = f" by about {format_duration(late)}" if late else ""
            return f"{alert.dag_id} is going to be late{by}"
        case AlertKind.MISSED:
            expected = f", expected at {_format_optional_time(alert.finish_at, alert)}" if alert.finish_at else ""
            return f"{alert.dag_id} is late{expected}"
        case AlertKind.RECOVERED:
            if late is None:
                return f"{alert.dag_id} is done"
            return f"{alert.dag_id} is done, {_format_delay(late)}"
        case AlertKind.FAILED:
            if not alert.failures:
                return f"{alert.dag_id} failed" + (f": {alert.reason.replace('_', ' ')}" if alert.reason else "")
            first = alert.failures[0]
            return f"{alert.dag_id} failed: {first.error_type or 'no word'} from {_task_name(first)}"


def _facts(alert: Alert) -> list[tuple[str, str]]:
    """Return what a glance should catch, as pairs of name and value; what is not known is left out."""
    late = _delay(alert)
    facts = [("Promised by", _format_optional_time(alert.deadline_at, alert))]
    match alert.kind:
        case AlertKind.FORECAST | AlertKind.MISSED:
            facts.append(
                (
                    "Expected at",
                    f"{_format_optional_time(alert.finish_at, alert)}, {_format_delay(late)}"
                    if late is not None
                    else "",
                )
            )
            facts.append(("Because", alert.basis))
        case AlertKind.RECOVERED:
            facts.append(
                (
                    "Done at",
                    f"{_format_optional_time(alert.finish_at, alert)}, {_format_delay(late)}"
                    if late is not None
                    else "",
                )
            )
        case AlertKind.FAILED:
            facts.append(("Failed at", _format_optional_time(alert.finish_at, alert)))
            facts.append(
                ("Failed tasks", f"{alert.failed_task_count}" if alert.failed_task_count > len(alert.failures) else "")
            )
    if alert.kind is AlertKind.RECOVERED and alert.started_at and alert.finish_at:
        facts.append(("Took", format_duration(alert.finish_at - alert.started_at)))
    if alert.kind in (AlertKind.RECOVERED, AlertKind.FAILED) and alert.progress.chunks:
        facts.append(("Loaded", f"{alert.progress.chunks_loaded} of {pluralize(alert.progress.chunks, 'chunk')}"))
    if alert.rejects:
        shown = ", ".join(f"{item.rejects:,} by {item.rule}" for item in alert.rejects)
        facts.append(("Records left out", shown))
    facts.append(("Started at", _format_optional_time(alert.started_at, alert) or "not yet"))
    if alert.data_interval:
        first, last = alert.data_interval
        facts.append(("About", f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"))
    facts.append(("Run", alert.run_id))
    return [(name, value) for name, value in facts if value]


def _next_steps(alert: Alert) -> str:
    """Return what happens next, so that nobody need wonder."""
    match alert.kind:
        case AlertKind.FORECAST:
            return "Nothing is lost. One more mail follows if the promise is missed, and one when the run is done."
        case AlertKind.MISSED:
            return "The run goes on. One more mail follows when it is done, or if it fails."
        case AlertKind.RECOVERED:
            return "Nothing is left to do. This was the last mail about this run."
        case AlertKind.FAILED if not alert.next_run_catches_up:
            return (
                "What was done stays; nothing of the rest is lost. Mend the cause and clear the failed tasks: they go "
                "on where they stopped, and no other run does it for them. No mail follows about this run's promise."
            )
        case AlertKind.FAILED:
            return (
                "What was loaded stays; nothing of the rest is lost. Mend the cause and clear the failed tasks, "
                "or let the next run make up for it. No mail follows about this run's promise."
            )


def _delay(alert: Alert) -> timedelta | None:
    if alert.finish_at is None or alert.deadline_at is None:
        return None
    return alert.finish_at - alert.deadline_at


def _format_delay(delay: timedelta | None) -> str:
    if delay is None:
        return ""
    return f"{format_duration(delay)} late" if delay > timedelta() else f"in time by {format_duration(delay)}"


def _format_optional_time(at: datetime | None, alert: Alert) -> str:
    return format_time(at, relative_to=alert.as_of) if at else ""


def _task_name(failure: TaskFailure) -> str:
    return failure.task_id.rpartition(".")[2]


def _describe_task(failure: TaskFailure) -> str:
    chunk = f", chunk {failure.map_index + 1}" if failure.map_index >= 0 else ""
    tries = f", attempt {failure.attempt}" if failure.attempt > 1 else ""
    return f"{_task_name(failure)}{chunk}{tries}"
