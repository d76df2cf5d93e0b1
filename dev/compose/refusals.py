"""Checks that a stack rejects missing and weak secrets, and that its images hold no secret."""

from pathlib import Path

from dev.compose.expectation import expect
from dev.compose.project import Project

_SECRET_FILES = (".env", "connections.env", "*.pem", "*.key", "pip.conf", ".netrc")
_SECRET_SUFFIXES = ("PASSWORD", "SECRET", "KEY", "KEYS")


def check_missing_secret(project: Project, folder: Path) -> None:
    """Expect that no container is created if a secret is missing."""
    settings = project.env_file.read_text(encoding="utf-8").splitlines()
    incomplete = folder / "incomplete.env"
    incomplete.write_text("\n".join(line for line in settings if not line.startswith("JWT_SECRET=")), encoding="utf-8")
    without_secret = Project(project.name, incomplete, project.environment)
    result = without_secret.run_unchecked((*without_secret.compose_command, "up", "--detach"))
    expect(result.returncode != 0, "a stack without JWT_SECRET was started")
    expect("JWT_SECRET is missing a value" in result.stderr, f"the missing secret was not named: {result.stderr}")


def check_weak_secret(project: Project) -> None:
    """Expect that `init` fails if a secret is weak, and does not show the secret."""
    weak = "guess-me"
    result = project.run_unchecked(
        (*project.compose_command, "run", "--rm", "--no-deps", "-T", "--env", f"REDIS_PASSWORD={weak}", "init")
    )
    output = result.stderr + result.stdout
    expect(result.returncode != 0, "`init` accepted a weak password")
    expect("REDIS_PASSWORD has 8 characters" in output, f"the reason was not given: {result.stderr}")
    expect(weak not in output, "the password was shown")


def check_image_without_secrets(project: Project, image: str) -> None:
    """Expect that an image holds no secret of the project, and no file of a kind that holds secrets."""
    description = project.run(("docker", "image", "inspect", image)) + project.run(
        ("docker", "history", "--no-trunc", "--format", "{{.CreatedBy}}", image)
    )
    for name, value in secrets(project).items():
        expect(value not in description, f"{image} holds the value of {name}")
    names = " -o ".join(f"-name '{name}'" for name in _SECRET_FILES)
    excluded = "-not -path '/etc/ssl/*' -not -path '/usr/*' -not -path '/opt/venv/lib/*'"
    find = f"find / -xdev -type f \\( {names} \\) {excluded}"
    paths = project.run(("docker", "run", "--rm", "--entrypoint", "sh", image, "-c", f"{find} 2>/dev/null || true"))
    expect(not paths.strip(), f"{image} holds {paths.split()}")


def secrets(project: Project) -> dict[str, str]:
    """Return the secrets of a project by name."""
    return {name: value for name, value in project.settings.items() if name.endswith(_SECRET_SUFFIXES)}
