"""Files that only their owner may read, and that are replaced atomically."""

import os
from pathlib import Path


def write(path: Path, text: str) -> None:
    """Replace a file by `text`, readable by its owner only; a reader sees the old text or the new."""
    partial = path.with_name(f"{path.name}.half")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    partial.replace(path)


def read(path: Path) -> str | None:
    """Return a file's text, or None if there is no such file."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def make_folder(path: Path) -> None:
    """Create a folder that only its owner may enter; an existing one is closed to others."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)


def tail(path: Path, lines: int) -> tuple[str, ...]:
    """Return the last lines of a log, or nothing if there is no such file."""
    return tuple((path.read_text(encoding="utf-8", errors="replace") if path.exists() else "").splitlines()[-lines:])
