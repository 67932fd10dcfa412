"""A small price book and the loading of texts, for the tests of gateway/config."""

from datetime import UTC, datetime
from pathlib import Path

from gateway.config import ConfigError, Loaded, Mistake, load

BOOK = Path(__file__).parent / "book"
ROOT = Path(__file__).parent.parent.parent
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)

MINIMAL = """\
routes:
  auto:
    policy: cheapest
    candidates: [big, flash]
"""


def loaded(tmp_path, text, env=(), now=NOW) -> Loaded:
    path = tmp_path / "routes.yaml"
    path.write_text(text)
    return load(path, dict(env), now=now, pricebook=BOOK)


def mistakes(tmp_path, text, env=()) -> tuple[Mistake, ...]:
    try:
        loaded(tmp_path, text, env)
    except ConfigError as error:
        return error.mistakes
    return ()


def marked_lines(text) -> list[int]:
    """The lines that end in "# <-": where a test expects a mistake."""
    return [number for number, line in enumerate(text.splitlines(), start=1) if line.endswith("# <-")]
