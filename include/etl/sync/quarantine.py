"""Quarantine: a login too many of whose records are bad is not loaded, and holds back no other login."""

from etl.declare.entity import Entity


def exceeds(entity: Entity, *, read: int, rejected: int) -> bool:
    """Return whether a login has more rejects than its entity tolerates.

    Parameters
    ----------
    read
        Records of the login, as sent.
    rejected
        Those that were rejected.
    """
    return rejected > max(entity.always_tolerated, entity.tolerated_rejects * read)
