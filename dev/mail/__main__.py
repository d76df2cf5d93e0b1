"""Receive mails and save each as a file that any mail program can open: `python -m dev.mail`."""

import asyncio
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from aiosmtpd.smtp import SMTP, Envelope, Session

from dev.servers import private_files
from dev.servers.ports import LOOPBACK


class MailFileHandler:
    """Saves mails in a folder.

    Parameters
    ----------
    folder
        An existing folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: ARG002, N802
        """Save one mail, named after the instant of its arrival."""
        content = envelope.content or b""
        text = content if isinstance(content, str) else content.decode("utf-8", errors="replace")
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}.eml"
        private_files.write(self._folder / name, text.replace("\r\n", "\n"))
        print(f"saved {name}, recipients: {len(envelope.rcpt_tos)}")
        return "250 saved"


async def serve(host: str, port: int, folder: Path) -> None:
    """Receive mails until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stopped.set)
    handler = MailFileHandler(folder)
    server = await loop.create_server(lambda: SMTP(handler, hostname="localhost", loop=loop), host, port)
    async with server:
        await stopped.wait()


def main(
    port: Annotated[int, typer.Option(help="Port to listen on.")],
    folder: Annotated[Path, typer.Option(help="Folder in which to save the mails.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = LOOPBACK,
) -> None:
    """Receive mails and save each as a file."""
    private_files.make_folder(folder)
    asyncio.run(serve(host, port, folder))


if __name__ == "__main__":
    typer.run(main)
