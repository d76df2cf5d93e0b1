"""The first user of Airflow's FAB auth manager, which stores users and their roles in Airflow's database."""

from deploy.api_server import ADMIN


def create_admin(password: str) -> bool:
    """Create the user `admin` and return True, or return False if it exists; its password is then left as it is.

    Parameters
    ----------
    password
        Password of the new user.
    """
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    with get_application_builder() as builder:
        users = builder.sm
        if users.find_user(username=ADMIN) is not None:
            return False
        users.add_user(ADMIN, "Sluice", "Admin", "admin@localhost", users.find_role("Admin"), password=password)
        return True
