"""`python -m dev.lock`: compile `pyproject.toml` into the lock files, for every Python that the project supports.

The lock files hold versions and hashes, but no address of a package index and no path of this machine.
"""

import subprocess
import sys
from pathlib import Path

from dev.stack.home import REPOSITORY

_COMPILE_OPTIONS = (
    "--universal",
    "--python-version=3.11",
    "--generate-hashes",
    "--no-header",
    "--no-annotate",
    "--upgrade",
    "--quiet",
    "--system-certs",
)
_HEADER = "# Made by `make lock` from pyproject.toml. Install with: pip install --no-deps --require-hashes -r {name}\n"


def lock(name: str, *arguments: str) -> None:
    """Write the lock file `name`, compiled by uv with these further arguments."""
    uv = Path(sys.executable).parent / "uv"
    command = (str(uv), "pip", "compile", *_COMPILE_OPTIONS, *arguments)
    compiled = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True)
    (REPOSITORY / name).write_text(_HEADER.format(name=name) + compiled.stdout, encoding="utf-8")


if __name__ == "__main__":
    lock("requirements.lock", "pyproject.toml")
    lock("requirements-dev.lock", "pyproject.toml", "--group=dev", "--constraints=requirements.lock")
    lock("benchmarks/requirements.lock", "--group=bench")
    # Not part of the first lock: the requirements of FAB hold other packages at older versions.
    lock("requirements-fab.lock", "pyproject.toml", "--extra=fab")
