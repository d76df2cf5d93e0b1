"""What others wrote, on its way to a terminal: it cannot move the cursor, set a title or turn the text around."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_MAX_LENGTH = 200


def escape_unprintable(text: str) -> str:
    """Return text with all that is not to be seen in the notation of JSON; lines stay lines."""
    return "".join(letter if letter.isprintable() or letter == "\n" else _escape(letter) for letter in text)


def truncate(text: str) -> str:
    """Return the beginning of a long text, and how long it is."""
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]}… ({len(text):,} characters)"


def _escape(character: str) -> str:
    """Return the escapes of a character; one beyond the first plane has two."""
    units = character.encode("utf-16-be", errors="surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def track_progress(ids: Sequence[int], description: str) -> Iterator[int]:
    """Yield ids, and show how many of them are done."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        yield from bar.track(ids, description=description)
