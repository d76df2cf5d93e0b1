"""A bank that accepts a request and never answers is given up in bounded time."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from etl.catalog.providers.plaid import PLAID
from etl.errors import ProviderUnavailable
from etl.settings import Endpoint
from tests.integration.sync.pipeline import Pipeline

Rows = Callable[..., list[tuple[object, ...]]]


@pytest.fixture
def silent_bank() -> Iterator[Endpoint]:
    """Return a bank that accepts connections and says nothing; its end closes them, so that no test waits for ever."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepted: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    accepted.append(listener.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield Endpoint(f"http://127.0.0.1:{listener.getsockname()[1]}", login="id", password="secret")
        listener.shutdown(socket.SHUT_RDWR)
        for connection in accepted:
            connection.close()


def test_a_bank_that_never_answers_is_given_up_after_the_timeout_of_its_provider(
    pipeline: Pipeline, silent_bank: Endpoint, rows: Rows
) -> None:
    provider = replace(PLAID, retries=0, timeout=timedelta(seconds=1))
    silent = replace(pipeline, endpoint=silent_bank, entity=replace(pipeline.entity, provider=provider))
    silent.enrol("one")
    (ordinal,) = silent.plan("run")
    raised: list[BaseException] = []

    def download() -> None:
        try:
            silent.download("run", ordinal)
        except ProviderUnavailable as error:
            raised.append(error)

    thread = threading.Thread(target=download, daemon=True)
    thread.start()
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert len(raised) == 1
    assert rows("select outcome, reason from etl.left_out") == [("unreachable", "TimeoutError")]
