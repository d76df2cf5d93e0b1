"""Every error that Sluice raises, sorted by what to do about it.

    SluiceError
    ├── TransientError            try again later
    │   └── MustWait              … after a wait that is known
    ├── PermanentError            trying again cannot help; a person must act
    ├── DeclarationError          a declaration is wrong; what it declares is left out
    └── EmptyChunk, EmptyWindow   (chunks.py) a caller's mistake

An error that one module raises is defined there; the others are here. A record that cannot be typed is no error but
data: it is kept as a reject, and its siblings go on.
"""

from datetime import UTC, datetime, timedelta


class SluiceError(Exception):
    """Anything that Sluice raises on purpose."""


class TransientError(SluiceError):
    """The same call may succeed later."""


class PermanentError(SluiceError):
    """The same call will fail again until a person mends its cause."""


class RetryAfter(TransientError):
    """The same call may succeed after a `wait` that is known, and too long to be spent in a task's slot."""

    def __init__(self, message: str, wait: timedelta) -> None:
        super().__init__(message)
        self.wait = wait


class DeclarationError(SluiceError, ValueError):
    """A declaration contradicts itself; the message names it, the field and the remedy."""


class ProviderUnavailable(TransientError):
    """No provider account of a chunk could be reached."""

    def __init__(self, provider: str, chunk_id: int, detail: str) -> None:
        super().__init__(
            f"{provider}: none of the accounts of chunk {chunk_id} could be drained; the last answer was {detail}. "
            "No cursor moved. If retries do not help, see the provider's status page."
        )


class ReplayDeadlocked(TransientError):
    """A load wanted the rows of a replay while that wanted the load's."""

    def __init__(self, entity: str) -> None:
        super().__init__(f"{entity}: a load of the same accounts was under way; nothing was changed, try again.")


class SettingMissing(PermanentError):
    """An environment variable that Sluice needs is not set."""

    def __init__(self, name: str, expected: str) -> None:
        super().__init__(f"{name} is not set; it must hold {expected}. On a local stack, run `. .local/env` first.")


class SettingInvalid(SettingMissing):
    """An environment variable is set to something that cannot be used; its value is never shown."""

    def __init__(self, name: str, expected: str) -> None:
        PermanentError.__init__(self, f"{name} cannot be read; it must hold {expected}.")


class ChunkMissing(PermanentError):
    """A run has no such chunk."""

    def __init__(self, entity: str, run_id: str, ordinal: int) -> None:
        super().__init__(f"{entity}: run {run_id!r} has no chunk {ordinal}; clear its task `plan` to plan it again.")


class LandingMissing(PermanentError):
    """The pages of a download attempt are not, or not completely, under the raw root."""

    def __init__(self, chunk_id: int, attempt: int, root: str) -> None:
        super().__init__(
            f"chunk {chunk_id}, attempt {attempt}: no finished download under {root}, or not what was received; "
            "clear the task `download`. "
            "If it was just done, the workers do not share one raw root: "
            "let SLUICE_RAW_ROOT name a volume or an object store that all of them reach."
        )


class RawMissing(PermanentError):
    """A raw batch is not known, or its object is gone."""

    def __init__(self, raw_id: int, location: str) -> None:
        super().__init__(f"raw batch {raw_id} is not in {location}; it was purged, or the raw root changed.")


class RawPurged(RawMissing):
    """A raw batch was kept for as long as was declared, and then removed."""

    def __init__(self, raw_id: int, purged_at: datetime) -> None:
        PermanentError.__init__(
            self,
            f"raw batch {raw_id} was purged at {purged_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC, as "
            "include/etl/catalog/retention.py has it; the rows that it brought stay, and cannot be made again.",
        )


class SourceNotRead(PermanentError):
    """An entity does not read batches of a source."""

    def __init__(self, raw_id: int, source: str, entities: str) -> None:
        super().__init__(f"raw batch {raw_id} was read from {source}, which {entities} does not read; leave one out.")


class RejectMissing(PermanentError):
    """A reject is not known."""

    def __init__(self, reject_id: int) -> None:
        super().__init__(
            f"reject {reject_id} is not in etl.rejects; its batch was typed again since. "
            "See `python -m etl rejects list`."
        )


class RawCorrupt(PermanentError):
    """A raw batch does not hold the bytes that were sealed."""

    def __init__(self, location: str, detail: str) -> None:
        super().__init__(
            f"{location}: {detail}; restore the object from a backup, or clear `download` to fetch it again."
        )


class TypedMissing(PermanentError):
    """A typed batch is not under the raw root."""

    def __init__(self, raw_id: int, entity: str, version: int) -> None:
        super().__init__(
            f"{entity} v{version}: raw batch {raw_id} has no typed batch; clear the task `transform` to make it again."
        )


class TokenUnreadable(PermanentError):
    """An access token was encrypted under a key that is no longer listed."""

    def __init__(self, provider_account_id: int) -> None:
        super().__init__(
            f"provider account {provider_account_id}: none of the SLUICE_KEYS decrypts its access token; "
            "put the key it was encrypted under back at the end of the list."
        )


class ProviderUrlInvalid(PermanentError):
    """A provider's connection holds no URL."""

    def __init__(self, connection: str, host: str) -> None:
        super().__init__(
            f"connection {connection!r}: its host is {host!r}; it must be the provider's base URL, "
            "such as https://production.plaid.com."
        )


class ProviderRefused(PermanentError):
    """A provider answered in a way that no declared rule covers; usually wrong client credentials."""

    def __init__(self, provider: str, detail: str) -> None:
        super().__init__(
            f"{provider} {detail}; mend the request or the credentials of the provider's connection, "
            "or declare an error rule for it in etl/catalog/providers."
        )
        self.detail = detail


class NotBackfillable(PermanentError):
    """A backfill of an entity that knows no past days."""

    def __init__(self, entity: str) -> None:
        super().__init__(
            f"{entity}: it is read as it is now, and has no window of past days; cancel the backfill, "
            "or declare the entity's window."
        )


class TooManyRejects(PermanentError):
    """The share of rejected records in a batch is above what its entity tolerates."""

    def __init__(self, entity: str, raw_id: int, *, rejected: int, read: int, tolerated: float) -> None:
        super().__init__(
            f"{entity}: {rejected} of {read} records of raw batch {raw_id} were rejected, "
            f"more than the declared share of {tolerated:.1%}; nothing was loaded. "
            f"See etl.rejects where raw_id = {raw_id}, mend the declaration and clear `transform`."
        )


class MailServerUnavailable(TransientError):
    """A mail server does not answer, or not now."""

    def __init__(self, server: str, detail: str) -> None:
        super().__init__(f"mail server {server}: {detail}; the mail is kept in etl.promises and tried again.")


class MailRefused(PermanentError):
    """A mail server does not take a mail, or its connection is wrong."""

    def __init__(self, server: str, detail: str) -> None:
        super().__init__(f"mail server {server}: {detail}; mend the Airflow connection `smtp_default`.")
        self.detail = detail


class ChannelRefused(PermanentError):
    """The server of a channel lets nobody in, or the channel's connection is wrong."""

    def __init__(self, channel: str, host: str, detail: str) -> None:
        super().__init__(f"{channel} through {host or '(none)'}: {detail}; mend its Airflow connection.")
