from __future__ import annotations

import smtplib
import subprocess
import sys
import time
from pathlib import Path

from dev.servers.ports import LOOPBACK, candidates, is_free
from dev.stack.home import REPOSITORY


def test_every_mail_is_stored_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    port = next(port for port in candidates() if is_free(port))
    folder = tmp_path / "mails"
    command = [sys.executable, "-m", "dev.mail", "--port", str(port), "--folder", str(folder)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL) as server:
        deadline = time.monotonic() + 20
        while is_free(port) and time.monotonic() < deadline:
            time.sleep(0.05)
        with smtplib.SMTP(LOOPBACK, port) as client:
            for number in range(2):
                client.sendmail("a@localhost", ["b@localhost"], f"Subject: {number}\r\n\r\nGrüße\r\n".encode())
        server.terminate()
    paths = sorted(folder.iterdir())
    assert [path.read_text().splitlines() for path in paths] == [
        ["Subject: 0", "", "Grüße"],
        ["Subject: 1", "", "Grüße"],
    ]
    assert {path.stat().st_mode & 0o777 for path in (folder, *paths)} == {0o700, 0o600}
    assert server.returncode == 0
