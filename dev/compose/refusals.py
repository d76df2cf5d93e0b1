"""What a stack must refuse: secrets that are missing or weak, and images that hold any."""

from pathlib import Path

from dev.compose.expectation import expect
from dev.compose.project import Project

_SECRET_FILES = (".env", "*.pem", "*.key", "pip.conf", ".netrc")
_SECRET_SUFFIXES = ("PASSWORD", "SECRET", "KEY", "KEYS")


def check_missing_secret(project: Project, folder: Path) -> None:
    """Expect that no container is made as long as a secret is missing."""
    settings = project.env_file.read_text(encoding="utf-8").splitlines()
    lacking = folder / "lacking.env"
    lacking.write_text("\n".join(line for line in settings if not line.startswith("JWT_SECRET=")), encoding="utf-8")
    refused = Project(project.name, lacking, project.environment)
    done = refused.run_unchecked((*refused.compose_command, "up", "--detach"))
    expect(done.returncode != 0, "a stack without JWT_SECRET was started")
    expect("JWT_SECRET is missing a value" in done.stderr, f"what is missing was not said: {done.stderr}")


def check_weak_secret(project: Project) -> None:
    """Expect that nothing is prepared as long as a secret is weak, and that the secret is not shown."""
    weak = "guess-me"
    done = project.run_unchecked(
        (*project.compose_command, "run", "--rm", "--no-deps", "-T", "--env", f"REDIS_PASSWORD={weak}", "init")
    )
    expect(done.returncode != 0, "a stack with a weak password was prepared")
    expect("REDIS_PASSWORD has 8 characters" in done.stderr + done.stdout, f"why was not said: {done.stderr}")
    expect(weak not in done.stderr + done.stdout, "the password was shown")


def check_image_without_secrets(project: Project, image: str) -> None:
    """Expect that an image holds no secret of the project, and no file that secrets are kept in."""
    shown = project.run(("docker", "image", "inspect", image)) + project.run(
        ("docker", "history", "--no-trunc", "--format", "{{.CreatedBy}}", image)
    )
    for name, value in secrets(project).items():
        expect(value not in shown, f"{image} holds the value of {name}")
    names = " -o ".join(f"-name '{name}'" for name in _SECRET_FILES)
    elsewhere = "-not -path '/etc/ssl/*' -not -path '/usr/*' -not -path '/opt/venv/lib/*'"
    look = f"find / -xdev -type f \\( {names} \\) {elsewhere}"
    found = project.run(("docker", "run", "--rm", "--entrypoint", "sh", image, "-c", f"{look} 2>/dev/null || true"))
    expect(not found.strip(), f"{image} holds {found.split()}")


def secrets(project: Project) -> dict[str, str]:
    """Return the secrets of a project by name."""
    return {name: value for name, value in project.settings.items() if name.endswith(_SECRET_SUFFIXES)}
