"""What a test of the whole stack expects."""


class ExpectationFailed(Exception):
    """The stack did something else than it should."""


def expect(condition: bool, message: str) -> None:  # noqa: FBT001 - as in `assert`
    """Go on if an expectation is met.

    Raises
    ------
    Unexpected
        If it is not.
    """
    if not condition:
        raise ExpectationFailed(message)
