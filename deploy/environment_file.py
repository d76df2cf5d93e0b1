"""`python -m deploy.environment_file`: write `.env` from `.env.example`, with newly generated secrets.

It needs only Python's standard library, so that it runs on a host that has just Python and a container engine.
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
    """Return the example, with a generated secret for every setting that it leaves empty."""
    lines = (f"{line}{_generate_secret(line[:-1])}" if _is_empty(line) else line for line in example.splitlines())
    return "\n".join((*lines, ""))


def write(target: Path, text: str) -> None:
    """Write a file that only its owner may read.

    Raises
    ------
    FileExistsError
        If the file exists: without the secrets in it, databases and tokens could no longer be read.
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
    """Write `.env`, or the file named by the first argument; an existing file is not changed."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    try:
        write(target, fill_secrets(EXAMPLE.read_text(encoding="utf-8")))
    except FileExistsError:
        sys.exit(f"{target} exists already, and stays as it is: its secrets are needed to read the databases.")
    sys.stdout.write(f"Wrote {target} with new secrets; only you can read it. Keep a copy where your backups are.\n")


if __name__ == "__main__":
    main()
