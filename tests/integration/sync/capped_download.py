"""`python -m tests.integration.sync.capped_download ARGUMENTS`: a download under the memory cap of a worker's task.

It prints by how many bytes its memory has grown at its peak.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from airflow.sdk import Context

from etl.catalog.queues import ETL
from sluice_memory_limit import with_memory_cap
from tests.integration.sync import download_process


def _memory(name: str) -> int:
    """Return a value of the kernel's statistics of this process, in bytes."""
    (kibibytes,) = re.findall(rf"^{name}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(kibibytes) << 10


def main(arguments: dict[str, object]) -> None:
    """Download the first chunk of the run, and print how much memory that took."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the peak so far
    before = _memory("VmRSS")
    with_memory_cap(lambda _: download_process.main(arguments), ETL)(Context())
    sys.stdout.write(f"{_memory('VmHWM') - before}\n")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
