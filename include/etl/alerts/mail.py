"""Composes the mail of an alert, as text and as HTML, from the templates in `templates/`."""

from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from etl.alerts.alert import Alert, AlertKind, LoginsByOutcome, TaskFailure
from etl.alerts.formatting import format_duration, format_time, pluralize
from etl.clients.mail import MailContent

TEMPLATE_FOLDER = Path(__file__).parent / "templates"
_COLOURS = {
    AlertKind.FORECAST: "#b45309",
    AlertKind.MISSED: "#b91c1c",
    AlertKind.RECOVERED: "#15803d",
    AlertKind.FAILED: "#b91c1c",
    AlertKind.LOGINS_STOPPED: "#b45309",
    AlertKind.HELD: "#b45309",
    AlertKind.RESUMED: "#15803d",
}
_LABELS = {
    AlertKind.FORECAST: "going to be late",
    AlertKind.MISSED: "late",
    AlertKind.RECOVERED: "recovered",
    AlertKind.FAILED: "failed",
    AlertKind.LOGINS_STOPPED: "logins stopped",
    AlertKind.HELD: "held",
    AlertKind.RESUMED: "continues",
}
_ENDED = (AlertKind.RECOVERED, AlertKind.FAILED, AlertKind.LOGINS_STOPPED)
_NEXT_STEPS = {
    AlertKind.FORECAST: (
        "Nothing is lost. One more mail follows if the deadline is missed, and one when the run is done."
    ),
    AlertKind.MISSED: "The run continues. One more mail follows when it is done, or if it fails.",
    AlertKind.RECOVERED: "There is nothing to do. This was the last mail about this run.",
    AlertKind.LOGINS_STOPPED: (
        "The others were loaded as usual. Runs try the stopped ones again, with growing waits, and these "
        "continue once their users have logged in. `sluice logins list --state needs_login` lists them; if "
        "they were stopped wrongly, `sluice logins resume ID` lets the next run ask one."
    ),
    AlertKind.HELD: (
        "Nothing is lost: what was refused waits, and no address was ended. A few messages try again, with growing "
        "waits; once they are accepted, the run continues by itself, and one more mail says so. See what the server "
        "says, and mend it; `sluice notify resume {run}` tries everything again at once."
    ),
    AlertKind.RESUMED: "There is nothing to do: what was held is sent now, and nobody gets a message twice.",
}
_FAILED = "failed"
"""State of a run of a notice of which too little was delivered."""
_TOLD_ERROR = "NoticeRunFailed"
_MAX_SUBJECT_LENGTH = 150


def compose(alert: Alert) -> MailContent:
    """Return the mail of an alert."""
    headline = " ".join(_headline(alert).split())
    values = {
        "alert": alert,
        "headline": headline,
        "label": _LABELS[alert.kind],
        "colour": _COLOURS[alert.kind],
        "facts": _facts(alert),
        "failures": [(_describe_task(failure), failure) for failure in alert.failures if not _is_told(alert, failure)],
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
    delay = _delay(alert)
    match alert.kind:
        case AlertKind.FORECAST:
            by = f" by about {format_duration(delay)}" if delay else ""
            return f"{alert.dag_id} is going to be late{by}"
        case AlertKind.MISSED:
            expected = f", expected at {_format_optional_time(alert.finish_at, alert)}" if alert.finish_at else ""
            return f"{alert.dag_id} is late{expected}"
        case AlertKind.RECOVERED:
            return f"{alert.dag_id} is done, {_format_delay(delay)}".removesuffix(", ")
        case AlertKind.FAILED:
            cause = _failure_cause(alert)
            return f"{alert.dag_id} failed: {cause}" if cause else f"{alert.dag_id} failed"
        case AlertKind.LOGINS_STOPPED:
            stopped = sum(item.logins for item in alert.logins)
            return f"{alert.dag_id} stopped {pluralize(stopped, 'login')}"
        case AlertKind.HELD | AlertKind.RESUMED:
            what = "is held: nothing gets through" if alert.kind is AlertKind.HELD else "sends again"
            return f"{alert.dag_id} {what}"


def _failure_cause(alert: Alert) -> str:
    """Return why a run failed, in a few words; empty if that is unknown."""
    if alert.notice and alert.notice.state == _FAILED:
        return alert.notice.reason
    if not alert.failures:
        return alert.reason.replace("_", " ")
    first = alert.failures[0]
    if not first.error_type:
        return f"{_task_name(first)} ended without an error"
    return f"{first.error_type} from {_task_name(first)}"


def _is_told(alert: Alert, failure: TaskFailure) -> bool:
    """Return whether the refusals of a notice say what a failure says."""
    return failure.error_type == _TOLD_ERROR and alert.notice is not None and bool(alert.notice.refusals)


def _facts(alert: Alert) -> list[tuple[str, str]]:
    """Return the most important facts as pairs of name and value, without unknown ones."""
    delay = _delay(alert)
    facts = [("Deadline", _format_optional_time(alert.deadline_at, alert))]
    match alert.kind:
        case AlertKind.FORECAST | AlertKind.MISSED:
            facts.append(
                (
                    "Expected at",
                    f"{_format_optional_time(alert.finish_at, alert)}, {_format_delay(delay)}"
                    if delay is not None
                    else "",
                )
            )
            facts.append(("Based on", alert.basis))
        case AlertKind.RECOVERED:
            facts.append(
                (
                    "Done at",
                    f"{_format_optional_time(alert.finish_at, alert)}, {_format_delay(delay)}"
                    if delay is not None
                    else "",
                )
            )
        case AlertKind.FAILED:
            facts.append(("Failed at", _format_optional_time(alert.finish_at, alert)))
            facts.append(
                ("Failed tasks", f"{alert.failed_task_count}" if alert.failed_task_count > len(alert.failures) else "")
            )
        case AlertKind.LOGINS_STOPPED:
            facts.append(("Done at", _format_optional_time(alert.finish_at, alert)))
        case AlertKind.HELD | AlertKind.RESUMED:
            pass
    facts += _notice_facts(alert)
    if alert.kind is AlertKind.RECOVERED and alert.started_at and alert.finish_at:
        facts.append(("Took", format_duration(alert.finish_at - alert.started_at)))
    if alert.kind in _ENDED and alert.progress.chunks:
        facts.append(("Loaded", f"{alert.progress.chunks_loaded} of {pluralize(alert.progress.chunks, 'chunk')}"))
    if alert.rejects:
        counts = ", ".join(f"{item.rejects:,} by {item.rule}" for item in alert.rejects)
        facts.append(("Rejected records", counts))
    if alert.logins:
        facts.append(("Logins", ", ".join(_describe_logins(item) for item in alert.logins)))
        facts += [("What to do", f"{item.reason}: {item.remedy}") for item in alert.logins if item.remedy]
    facts.append(("Started at", _format_optional_time(alert.started_at, alert) or "not yet"))
    if alert.data_interval:
        start, end = alert.data_interval
        facts.append(("Data interval", f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"))
    facts.append(("Run", alert.run_id))
    return [(name, value) for name, value in facts if value]


def _notice_facts(alert: Alert) -> list[tuple[str, str]]:
    """Return what became of the messages of a notice; the headline of a failed run says why it failed."""
    notice = alert.notice
    if notice is None:
        return []
    counts = f"{notice.sent:,} sent, {notice.failed:,} failed, {notice.deferred:,} deferred, {notice.unknown:,} unknown"
    return [
        ("Why", notice.reason if alert.kind is not AlertKind.FAILED else ""),
        ("Messages", counts + (f", {notice.expired:,} expired" if notice.expired else "")),
        ("Notice run", f"{notice.run_id}, see `sluice notify status {notice.run_id}`"),
    ]


def _next_steps(alert: Alert) -> str:
    """Return what happens next, and which mails about the run follow."""
    if alert.kind is not AlertKind.FAILED:
        return _NEXT_STEPS[alert.kind].format(run=alert.notice.run_id if alert.notice else "RUN")
    if alert.notice and alert.notice.state == _FAILED:
        return (
            "What was sent stays sent, and nobody gets a message twice. Mend what the servers complain about; then "
            f"`sluice notify retry {alert.notice.run_id}` lets the others be tried again, and prints the command that "
            "sends them. Clear `all_sent` afterwards, and this run succeeds."
        )
    if not alert.next_run_catches_up:
        return (
            "Completed work is kept, and nothing is lost. Fix the cause and clear the failed tasks: they continue "
            "where they stopped, and no other run does their work. No mail about this run's deadline follows."
        )
    return (
        "Loaded records are kept, and nothing is lost. Fix the cause and clear the failed tasks, "
        "or let the next run catch up. No mail about this run's deadline follows."
    )


def _describe_logins(item: LoginsByOutcome) -> str:
    count = f"{item.logins:,} {item.outcome.replace('_', ' ')}"
    return f"{count} ({item.reason})" if item.reason else count


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
    attempt = f", attempt {failure.attempt}" if failure.attempt > 1 else ""
    return f"{_task_name(failure)}{chunk}{attempt}"
