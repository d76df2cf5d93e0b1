from __future__ import annotations

import smtplib
import subprocess
import sys
import time
from pathlib import Path

from dev.servers.ports import LOOPBACK, candidates, is_free
from dev.stack.home import REPOSITORY

DELIVERY = b"Message-ID: <delivery.%d@localhost>\r\n\r\n..\r\n"


def test_each_mail_is_recorded_as_a_line_with_delivery_time_and_recipient(tmp_path: Path) -> None:
    port = next(port for port in candidates() if is_free(port))
    record = tmp_path / "record"
    command = [sys.executable, "-m", "dev.mail.sink", "--port", str(port), "--record", str(record)]
    started = time.monotonic()
    with subprocess.Popen(command, cwd=REPOSITORY) as server:
        deadline = time.monotonic() + 20
        while is_free(port) and time.monotonic() < deadline:
            time.sleep(0.05)
        for ids in ((7, 8), (9,)):
            with smtplib.SMTP(LOOPBACK, port) as client:
                for delivery_id in ids:
                    message = b"Subject: no\r\n" + DELIVERY % delivery_id
                    client.sendmail("a@localhost", [f"{delivery_id}@localhost"], message)
        with smtplib.SMTP(LOOPBACK, port) as client:
            client.sendmail("a@localhost", ["b@localhost"], b"")
        server.terminate()
    lines = [line.split() for line in record.read_text().splitlines()]
    assert [(delivery, recipient) for delivery, _, recipient in lines] == [
        ("7", "7@localhost"),
        ("8", "8@localhost"),
        ("9", "9@localhost"),
        ("0", "b@localhost"),
    ]
    instants = [float(instant) for _, instant, _ in lines]
    ended = time.monotonic()
    assert [started, *instants, ended] == sorted([started, *instants, ended])
    assert server.returncode == 0
