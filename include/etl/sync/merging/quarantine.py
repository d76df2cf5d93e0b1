"""Quarantine: a login of which too many records are rejected is held back, and the others of its batch are loaded."""

from etl.declare.entity import Entity, RawOf


def exceeds(entity: Entity, *, read: int, rejected: int) -> bool:
    """Return whether more of a login's records were rejected than the entity tolerates.

    An entity that is read from the raw batches of another never holds a login back: its records are by-products, and
    have no cursor that could wait.

    Parameters
    ----------
    read
        Records of the login in a batch, as sent.
    rejected
        How many of them were rejected.
    """
    if isinstance(entity.source, RawOf):
        return False
    return rejected > max(entity.always_tolerated, entity.tolerated_rejects * read)
