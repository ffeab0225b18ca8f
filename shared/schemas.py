"""Names of what each service owns in PostgreSQL: its schema, its login role, its newest migration.

Light on purpose: the local stack asks here at every start whether the (slow to import) migrations must run.
"""

from pathlib import Path
from urllib.parse import quote, urlsplit

ROOT = Path(__file__).resolve().parent.parent


def services() -> tuple[str, ...]:
    """Every service that brings migrations, by name."""
    return tuple(sorted(folder.parent.parent.name for folder in ROOT.glob("services/*/migrations/versions")))


def migrations_of(service: str) -> Path:
    """The folder that holds the service's ``versions/``."""
    return ROOT / "services" / service / "migrations"


def head_of(service: str) -> str:
    """The newest revision: the highest file name prefix in ``versions/``. Raises ValueError when there is none."""
    prefixes = [path.name.partition("_")[0] for path in (migrations_of(service) / "versions").glob("[0-9]*_*.py")]
    if not prefixes:
        raise ValueError(f"the service {service} has no migrations")
    return max(prefixes)


def database_of(url: str) -> str:
    """The database a PostgreSQL URL names. Raises ValueError (without repeating the URL) when it names none."""
    try:
        parts = urlsplit(url)
        name, _ = parts.path.lstrip("/"), parts.port
    except ValueError:  # its text repeats a piece of the URL
        name = ""
    if not url.startswith(("postgresql://", "postgres://")) or not name:
        raise ValueError("DATABASE_URL must look like postgresql://user:password@host:port/database")
    return name


def role_of(database: str, service: str) -> str:
    """The service's login role. Roles are cluster-wide, so the database's name keeps two stacks apart."""
    return f"{database}_{service}"


def service_url(owner_url: str, service: str, password: str) -> str:
    """``owner_url`` with the service's own role and password in place of the owner's."""
    parts = urlsplit(owner_url)
    role = quote(role_of(database_of(owner_url), service), safe="")
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(scheme="postgresql", netloc=f"{role}:{quote(password, safe='')}@{host}").geturl()
