"""Errors of Sluice, sorted by how to handle them.

    SluiceError
    ├── TransientError            a retry may succeed
    │   └── RetryAfter            … after a known wait
    ├── PermanentError            a retry fails again until a person fixes the cause
    ├── DeclarationError          a declaration is invalid and is skipped
    └── EmptyChunk, EmptyWindow   (chunking.py) a caller's mistake

An error that only one module raises is defined in that module. A record that cannot be typed is not an error but data:
it is stored as a reject, and the other records of its page are kept.
"""

from datetime import UTC, datetime, timedelta


class SluiceError(Exception):
    """Base class of all errors that Sluice raises on purpose."""


class TransientError(SluiceError):
    """The same call may succeed on a retry."""


class PermanentError(SluiceError):
    """The same call will fail again until a person fixes its cause."""


class RetryAfter(TransientError):
    """The same call may succeed after a known `wait`, which is too long to occupy a task's slot meanwhile."""

    def __init__(self, message: str, wait: timedelta) -> None:
        super().__init__(message)
        self.wait = wait


class DeclarationError(SluiceError, ValueError):
    """A declaration contradicts itself; the message names the declaration, the field and the fix."""


class ProviderUnavailable(TransientError):
    """No provider account of a chunk could be drained, and a retry may succeed."""

    def __init__(self, provider: str, chunk_id: int, detail: str) -> None:
        super().__init__(
            f"{provider}: none of the accounts of chunk {chunk_id} could be drained; the last error was: {detail}. "
            "No cursor moved. If retries do not help, see the provider's status page."
        )


class ReplayDeadlocked(TransientError):
    """A load and a replay deadlocked."""

    def __init__(self, entity: str) -> None:
        super().__init__(
            f"{entity}: the replay deadlocked with a load of the same accounts; nothing was changed, try again."
        )


class SettingMissing(PermanentError):
    """An environment variable that Sluice needs is not set."""

    def __init__(self, name: str, expected: str) -> None:
        super().__init__(f"{name} is not set; it must hold {expected}. On a local stack, run `. .local/env` first.")


class ConnectionMissing(SettingMissing):
    """The environment variable of an Airflow connection is not set."""

    def __init__(self, name: str, connection: str) -> None:
        PermanentError.__init__(
            self,
            f"{name} is not set; it must hold the Airflow connection {connection!r}, as JSON or as a URI. On a local "
            "stack, run `. .local/env` first; if it lacks the connection, export it and run `python -m dev.stack up`. "
            "In containers, only workers have those of providers and channels: run the command there, or add it to "
            "connections.env.",
        )


class SettingInvalid(SettingMissing):
    """An environment variable has an invalid value; the value is never shown."""

    def __init__(self, name: str, expected: str) -> None:
        PermanentError.__init__(self, f"{name} cannot be read; it must hold {expected}.")


class ChunkMissing(PermanentError):
    """A run has no such chunk."""

    def __init__(self, entity: str, run_id: str, ordinal: int) -> None:
        super().__init__(f"{entity}: run {run_id!r} has no chunk {ordinal}; clear its task `plan` to plan it again.")


class LandingMissing(PermanentError):
    """The pages of a download attempt are missing, incomplete or damaged under the raw root."""

    def __init__(self, chunk_id: int, attempt: int, root: str) -> None:
        super().__init__(
            f"chunk {chunk_id}, attempt {attempt}: no complete download under {root}, or its files are damaged; "
            "clear the task `download`. "
            "If it has just succeeded, the workers do not share one raw root: "
            "set SLUICE_RAW_ROOT to a volume or an object store that all of them can access."
        )


class RawMissing(PermanentError):
    """A raw batch is not recorded, or its object is missing."""

    def __init__(self, raw_id: int, location: str) -> None:
        super().__init__(f"raw batch {raw_id} is not in {location}; it was purged, or the raw root changed.")


class RawPurged(RawMissing):
    """A raw batch was removed at the end of its declared retention."""

    def __init__(self, raw_id: int, purged_at: datetime) -> None:
        PermanentError.__init__(
            self,
            f"raw batch {raw_id} was purged at {purged_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC, as "
            "retention.py of the catalogue declares; its loaded rows stay, but it cannot be replayed.",
        )


class SourceNotRead(PermanentError):
    """An entity does not use raw batches of this source."""

    def __init__(self, raw_id: int, source: str, entities: str) -> None:
        super().__init__(
            f"raw batch {raw_id} was read from {source}, which {entities} does not read; omit the batch or the entity."
        )


class RejectMissing(PermanentError):
    """A reject is not recorded."""

    def __init__(self, reject_id: int) -> None:
        super().__init__(
            f"reject {reject_id} is not in etl.rejects; it was purged, or never existed. See `sluice rejects list`."
        )


class RawCorrupt(PermanentError):
    """The object of a raw batch does not hold the bytes that were sealed."""

    def __init__(self, location: str, detail: str) -> None:
        super().__init__(
            f"{location}: {detail}; restore the object from a backup, or clear `download` to fetch it again."
        )


class TypedMissing(PermanentError):
    """A typed batch is not under the raw root."""

    def __init__(self, raw_id: int, entity: str, version: int) -> None:
        super().__init__(
            f"{entity} v{version}: raw batch {raw_id} has no typed batch; clear the task `transform` to write it again."
        )


class TypedCorrupt(PermanentError):
    """A file of a typed batch is not as it was written."""

    def __init__(self, raw_id: int, entity: str, path: str, found: str) -> None:
        super().__init__(
            f"{entity}: raw batch {raw_id}: {path} is damaged ({found}); clear the task `transform` to write it again. "
            "Nothing is lost: it is typed from the raw batch."
        )


class TokenUnreadable(PermanentError):
    """A token was encrypted with a key that is not in SLUICE_KEYS any more, or for another login."""

    def __init__(self, provider_account_id: int, *, is_foreign: bool = False) -> None:
        super().__init__(
            f"provider account {provider_account_id}: "
            + (
                "its access token is damaged or that of another login, so it is not used; link it again."
                if is_foreign
                else "none of the SLUICE_KEYS decrypts its access token; add the key that encrypted it to the end of "
                "the list again."
            )
        )


class ProviderUrlInvalid(PermanentError):
    """The host of a provider's connection is not a URL."""

    def __init__(self, connection: str, host: str) -> None:
        super().__init__(
            f"connection {connection!r}: its host is {host!r}; it must be the provider's base URL, "
            "such as https://api.example.com."
        )


class ProviderRefused(PermanentError):
    """A provider's response is not covered by any declared rule; usually the client credentials are wrong."""

    def __init__(self, provider: str, detail: str) -> None:
        super().__init__(
            f"{provider} {detail}; fix the request or the credentials of the provider's connection, "
            "or declare an error rule for it in the provider's file."
        )
        self.detail = detail


class NotBackfillable(PermanentError):
    """An entity without a window cannot be backfilled."""

    def __init__(self, entity: str) -> None:
        super().__init__(
            f"{entity}: only its current state can be read, as it has no window of past days; cancel the backfill, "
            "or declare a window for the entity."
        )


class MailServerUnavailable(TransientError):
    """A mail server does not respond, or asks to retry later."""

    def __init__(self, server: str, detail: str) -> None:
        super().__init__(f"mail server {server}: {detail}; the mail stays in etl.promises and is retried.")


class MailRefused(PermanentError):
    """A mail server rejected a mail, or its Airflow connection is wrong."""

    def __init__(self, server: str, detail: str) -> None:
        super().__init__(f"mail server {server}: {detail}; fix the Airflow connection `smtp_default`.")
        self.detail = detail


class ChannelRefused(PermanentError):
    """The server of a channel rejects the credentials, or the channel's Airflow connection is wrong."""

    def __init__(self, channel: str, host: str, detail: str) -> None:
        super().__init__(f"{channel} through {host or '(none)'}: {detail}; fix its Airflow connection.")
