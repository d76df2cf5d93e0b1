"""Quarantine: a login too many of whose records are bad is not loaded, and holds back no other login."""

from etl.declare.entity import Entity, RawOf


def exceeds(entity: Entity, *, read: int, rejected: int) -> bool:
    """Return whether a login has more rejects than its entity tolerates.

    What is read from the raw batches of another entity is never quarantined: whoever downloaded it decides.

    Parameters
    ----------
    read
        Records of the login, as sent.
    rejected
        Those that were rejected.
    """
    tolerated = max(entity.always_tolerated, entity.tolerated_rejects * read)
    return rejected > tolerated and not isinstance(entity.source, RawOf)
