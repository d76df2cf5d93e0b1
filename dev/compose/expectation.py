"""Expectations of the test of the whole stack, and their error."""


class ExpectationFailed(Exception):
    """The stack does not behave as it should."""


def expect(condition: bool, message: str) -> None:  # noqa: FBT001 - as in `assert`
    """Raise unless a condition holds.

    Raises
    ------
    ExpectationFailed
        If the condition is false.
    """
    if not condition:
        raise ExpectationFailed(message)
