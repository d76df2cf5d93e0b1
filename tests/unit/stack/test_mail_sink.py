from __future__ import annotations

import smtplib
import subprocess
import sys
import time
from pathlib import Path

from dev.servers.ports import LOOPBACK, candidates, is_free
from dev.stack.home import REPOSITORY

DELIVERY = b"Message-ID: <delivery.%d@localhost>\r\n\r\n..\r\n"


def test_each_mail_is_a_line_with_its_delivery_and_its_recipient(tmp_path: Path) -> None:
    port = next(port for port in candidates() if is_free(port))
    record = tmp_path / "record"
    command = [sys.executable, "-m", "dev.mail.sink", "--port", str(port), "--record", str(record)]
    before = time.monotonic()
    with subprocess.Popen(command, cwd=REPOSITORY) as server:
        deadline = time.monotonic() + 20
        while is_free(port) and time.monotonic() < deadline:
            time.sleep(0.05)
        for ids in ((7, 8), (9,)):
            with smtplib.SMTP(LOOPBACK, port) as client:
                for each in ids:
                    client.sendmail("a@localhost", [f"{each}@localhost"], b"Subject: no\r\n" + DELIVERY % each)
        with smtplib.SMTP(LOOPBACK, port) as client:
            client.sendmail("a@localhost", ["b@localhost"], b"")
        server.terminate()
    lines = [line.split() for line in record.read_text().splitlines()]
    assert [(delivery, to) for delivery, _, to in lines] == [
        ("7", "7@localhost"),
        ("8", "8@localhost"),
        ("9", "9@localhost"),
        ("0", "b@localhost"),
    ]
    instants = [float(instant) for _, instant, _ in lines]
    after = time.monotonic()
    assert [before, *instants, after] == sorted([before, *instants, after])
    assert server.returncode == 0
