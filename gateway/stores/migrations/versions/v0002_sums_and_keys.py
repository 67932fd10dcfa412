"""Organisations, tags, end users, holds, corrections, audio and image tokens; sums by the hour; keys and their audit.

The sums of the rows that are there are made here: one pass over the book.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

SERIES_OF = (
    "simulated", "organisation", "team", "key_id", "provider", "model", "route", "policy", "outcome", "state",
)  # fmt: skip
SUMMED = (
    "sign", "input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens",
    "audio_input_tokens", "image_input_tokens", "audio_output_tokens", "image_output_tokens",
    "cost_nano", "baseline_nano", "duration_us",
)  # fmt: skip


def upgrade() -> None:
    for column in _added():
        op.add_column("spend_records", column)
    _create_sums()
    _create_keys()
    _fill_sums()


def _added() -> list[sa.Column[Any]]:  # Any: a column of whatever type
    return [
        sa.Column("audio_input_tokens", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("image_input_tokens", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("audio_output_tokens", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("image_output_tokens", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("organisation", sa.Text, nullable=False, server_default=""),
        sa.Column("end_user", sa.Text),
        sa.Column("tags", sa.Text, nullable=False, server_default="{}"),
        sa.Column("hold_nano", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("sign", sa.BigInteger, nullable=False, server_default="1"),
        sa.Column("corrects", sa.Text),
    ]


def _id() -> sa.Column[int]:
    return sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True)


def _create_sums() -> None:
    op.create_table(
        "spend_series",
        _id(),
        sa.Column("simulated", sa.Boolean, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in SERIES_OF[1:]),
        sa.UniqueConstraint(*SERIES_OF, name="spend_series_once"),
    )
    op.create_table(
        "spend_sums",
        sa.Column("hours", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("start", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("series", sa.BigInteger, sa.ForeignKey("spend_series.id"), primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in SUMMED),
        sqlite_with_rowid=False,
    )


def _create_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("team", sa.Text, nullable=False),
        sa.Column("organisation", sa.Text, nullable=False),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
        sa.Column("expires_at_us", sa.BigInteger),
        sa.Column("revoked_at_us", sa.BigInteger),
        sa.Column("rotated_from", sa.Text),
        sa.Column("note", sa.Text, nullable=False),
        sa.UniqueConstraint("id", name="api_keys_id"),
    )
    op.create_table(
        "api_keys_version",
        sa.Column("one", sa.Boolean, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "audit",
        _id(),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
    )
    op.create_index("audit_time", "audit", ["at_us"])


def _fill_sums() -> None:
    names, summed = ", ".join(SERIES_OF), ", ".join(SUMMED)
    sums = ", ".join(f"SUM(r.{name})" for name in SUMMED)
    same = " AND ".join(f"r.{name} = s.{name}" for name in SERIES_OF)
    op.execute(f"INSERT INTO spend_series ({names}) SELECT DISTINCT {names} FROM spend_records")  # noqa: S608
    op.execute(
        f"INSERT INTO spend_sums (hours, start, series, {summed})"  # noqa: S608
        f" SELECT 1, r.at_us / 3600000000, s.id, {sums} FROM spend_records r JOIN spend_series s ON {same}"
        " GROUP BY r.at_us / 3600000000, s.id"
    )
    op.execute(
        f"INSERT INTO spend_sums (hours, start, series, {summed})"  # noqa: S608
        f" SELECT 24, r.start / 24 * 24, r.series, {sums} FROM spend_sums r GROUP BY r.start / 24 * 24, r.series"
    )
