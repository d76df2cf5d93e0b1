"""What a test of the whole stack expects."""


class Unexpected(Exception):
    """The stack did something else than it should."""


def expect(met: bool, otherwise: str) -> None:  # noqa: FBT001 - as in `assert`
    """Go on if an expectation is met.

    Raises
    ------
    Unexpected
        If it is not.
    """
    if not met:
        raise Unexpected(otherwise)
