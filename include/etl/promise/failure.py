"""Why a task failed, in words that may be mailed."""

import re
from dataclasses import dataclass

from etl.errors import SluiceError

_LINES = 4
_WIDTH = 300
_QUOTED = re.compile(r'"[^"]*"|\'[^\']*\'|\([^()]*\)=\([^()]*\)')
_ADDRESS = re.compile(r"[^\s@<>]+@[^\s@<>]+")
_LONG_NUMBER = re.compile(r"\b[A-Z]{0,4}\d(?:[ -]?[0-9A-Z]){8,}\b")
_CREDENTIALS = re.compile(r"(?<=://)[^\s/@]*@")


@dataclass(frozen=True)
class Failure:
    """The failure of a task.

    Parameters
    ----------
    task_id
        Which task.
    map_index
        Its place in the map; -1 if it is not mapped.
    attempt
        1-based.
    error_type
        Name of the error's class; empty if the task ended without a word.
    message
        First lines of what it says.
    """

    task_id: str
    map_index: int
    attempt: int
    error_type: str
    message: str


def first_lines(message: str, error_type: type[BaseException]) -> str:
    """Return the first lines of what an error says, fit for a mail.

    What Sluice raises on purpose names ids and remedies only. Anything else may quote a record, as a database does with
    a value that it cannot read: what it quotes, and whatever looks like an address or an account number, is left out,
    and so is all but its first line.
    """
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    if issubclass(error_type, SluiceError):
        return "\n".join(_cut(line) for line in lines[:_LINES])
    return "".join(_cut(_without_values(line)) for line in lines[:1])


def _without_values(line: str) -> str:
    for pattern in (_CREDENTIALS, _QUOTED, _ADDRESS, _LONG_NUMBER):
        line = pattern.sub("…", line)
    return line


def _cut(line: str) -> str:
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}…"
