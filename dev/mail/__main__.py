"""`python -m dev.mail`: take mails and keep each as a file, to be opened by any mail program."""

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
    """Keeps mails in a folder.

    Parameters
    ----------
    folder
        Where; it must exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: ARG002, N802
        """Keep one mail, under the instant at which it came."""
        content = envelope.content or b""
        text = content if isinstance(content, str) else content.decode("utf-8", errors="replace")
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}.eml"
        private_files.write(self._folder / name, text.replace("\r\n", "\n"))
        print(f"kept {name}, for {len(envelope.rcpt_tos)}")
        return "250 kept"


async def serve(host: str, port: int, folder: Path) -> None:
    """Take mails until the process is asked to end."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for asked in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(asked, ended.set)
    keeper = MailFileHandler(folder)
    server = await loop.create_server(lambda: SMTP(keeper, hostname="localhost", loop=loop), host, port)
    async with server:
        await ended.wait()


def main(
    port: Annotated[int, typer.Option(help="Port to listen on.")],
    folder: Annotated[Path, typer.Option(help="Where to keep the mails.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = LOOPBACK,
) -> None:
    """Take mails and keep them."""
    private_files.make_folder(folder)
    asyncio.run(serve(host, port, folder))


if __name__ == "__main__":
    typer.run(main)
