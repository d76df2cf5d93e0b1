"""What servers say of a message, made fit for the ledger."""

import re

_ADDRESS = re.compile(r"<?[^\s<>]+@[^\s<>]+>?")
_LONGEST = 200


def legible(text: str) -> str:
    """Return what a server said in one line, without mail addresses."""
    line = " ".join(text.encode(errors="replace").decode().split())
    return _ADDRESS.sub("…", line.replace("\0", ""))[:_LONGEST]
