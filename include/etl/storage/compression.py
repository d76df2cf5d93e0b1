"""Compression of objects with zstd, as streams."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, cast

import zstandard

LEVEL = 3
CompressionError = zstandard.ZstdError
"""The content is not zstd, or is truncated."""


@contextmanager
def compress_to(stream: IO[bytes]) -> Iterator[IO[bytes]]:
    """Yield a stream whose content is written to another, compressed; the other stays open."""
    # `threads=1` compresses in a separate thread, in parallel with reading and hashing.
    with zstandard.ZstdCompressor(level=LEVEL, threads=1).stream_writer(stream, closefd=False) as compressor:
        yield cast(IO[bytes], compressor)


def decompress(stream: IO[bytes]) -> IO[bytes]:
    """Return the decompressed content of a stream, buffered."""
    decompressor = zstandard.ZstdDecompressor().stream_reader(stream)
    return cast(IO[bytes], io.BufferedReader(cast(io.RawIOBase, decompressor), 1 << 20))
