"""`python -m deploy.environment_file`: write `.env` from `.env.example`, with secrets made up for this stack alone.

It needs nothing but Python, so that the stack can be started on a host that has only an engine besides.
"""

import base64
import os
import secrets
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / ".env.example"
TARGET = ROOT / ".env"

_FERNET_KEYS = ("FERNET_KEY", "SLUICE_KEYS")
_SIGNING_KEYS = ("JWT_SECRET", "SECRET_KEY")
_KEY_BYTES = 32
_PASSWORD_BYTES = 24
_SIGNING_BYTES = 64


def fill_secrets(example: str) -> str:
    """Return the example with a secret for every setting that it leaves empty."""
    lines = (f"{line}{_generate_secret(line[:-1])}" if _is_empty(line) else line for line in example.splitlines())
    return "\n".join((*lines, ""))


def write(target: Path, text: str) -> None:
    """Write a file that its owner alone may read.

    Raises
    ------
    FileExistsError
        If it is there: without the secrets in it, databases and tokens could not be opened any more.
    """
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _is_empty(line: str) -> bool:
    return line.endswith("=") and not line.startswith("#")


def _generate_secret(name: str) -> str:
    if name in _FERNET_KEYS:
        return base64.urlsafe_b64encode(secrets.token_bytes(_KEY_BYTES)).decode()
    return secrets.token_urlsafe(_SIGNING_BYTES if name in _SIGNING_KEYS else _PASSWORD_BYTES)


def main() -> None:
    """Write `.env`, or the file that is named; one that is there stays as it is."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    try:
        write(target, fill_secrets(EXAMPLE.read_text(encoding="utf-8")))
    except FileExistsError:
        sys.exit(f"{target} is there already, and stays as it is; its secrets open the databases.")
    sys.stdout.write(f"{target} is written, with new secrets, for you alone to read. Keep a copy where backups are.\n")


if __name__ == "__main__":
    main()
