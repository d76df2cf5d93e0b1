import pytest
from cryptography.fernet import Fernet

from deploy import prepare
from deploy.secret_rules import FERNET_KEY_VARIABLES, PASSWORD_VARIABLES, SIGNING_KEY_VARIABLES, problems

GOOD = {
    **{name: f"{position}-of-the-tests-abcdef" for position, name in enumerate(PASSWORD_VARIABLES)},
    **{name: f"{name}-of-the-tests-{'xyz' * 20}" for name in SIGNING_KEY_VARIABLES},
    **{name: Fernet.generate_key().decode() for name in FERNET_KEY_VARIABLES},
}


def test_good_secrets_are_accepted() -> None:
    assert list(problems(GOOD)) == []


@pytest.mark.parametrize("name", GOOD)
def test_each_missing_secret_is_reported(name: str) -> None:
    (problem,) = problems({**GOOD, name: ""})
    assert name.rpartition("__")[2] in problem


@pytest.mark.parametrize("password", ["short", "a" * 40, "quite-long-but@its:for/urls"])
def test_a_weak_password_is_refused_and_not_shown(password: str) -> None:
    reported = list(problems({**GOOD, "REDIS_PASSWORD": password}))
    assert len(reported) == 1
    assert "REDIS_PASSWORD" in reported[0]
    assert password not in reported[0]


def test_one_bad_key_among_several_is_reported() -> None:
    assert list(problems({**GOOD, "SLUICE_KEYS": f"{GOOD['SLUICE_KEYS']},password"}))
    assert not list(problems({**GOOD, "SLUICE_KEYS": f"{GOOD['SLUICE_KEYS']},{Fernet.generate_key().decode()}"}))


def test_reused_secret_is_refused() -> None:
    (problem,) = problems({**GOOD, "ADMIN_PASSWORD": GOOD["REDIS_PASSWORD"]})
    assert problem.startswith("ADMIN_PASSWORD is the same as REDIS_PASSWORD")


def test_prepare_exits_with_all_problems_and_the_fix() -> None:
    with pytest.raises(SystemExit, match=r"(?s)JWT_SECRET.*FERNET_KEY.*make env"):
        prepare.require_strong_secrets({**GOOD, SIGNING_KEY_VARIABLES[0]: "", FERNET_KEY_VARIABLES[0]: ""})
