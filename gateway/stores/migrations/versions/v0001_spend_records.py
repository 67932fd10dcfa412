"""The book as it was first released, without a version."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def columns() -> list[sa.Column[Any]]:  # Any: a column of whatever type
    return [
        sa.Column("attempt_id", sa.Text, primary_key=True),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("attempt", sa.BigInteger, nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("team", sa.Text, nullable=False),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("simulated", sa.Boolean, nullable=False),
        sa.Column("stream", sa.Boolean, nullable=False),
        sa.Column("cache", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("status", sa.BigInteger, nullable=False),
        sa.Column("finish_reason", sa.Text),
        sa.Column("usage_source", sa.Text, nullable=False),
        sa.Column("input_tokens", sa.BigInteger, nullable=False),
        sa.Column("cached_input_tokens", sa.BigInteger, nullable=False),
        sa.Column("cache_write_tokens", sa.BigInteger, nullable=False),
        sa.Column("output_tokens", sa.BigInteger, nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger, nullable=False),
        sa.Column("service_tier", sa.Text),
        sa.Column("price_id", sa.Text),
        sa.Column("expected_nano", sa.BigInteger, nullable=False),
        sa.Column("cost_nano", sa.BigInteger, nullable=False),
        sa.Column("baseline_model", sa.Text),
        sa.Column("baseline_price_id", sa.Text),
        sa.Column("baseline_nano", sa.BigInteger, nullable=False),
        sa.Column("duration_us", sa.BigInteger, nullable=False),
        sa.Column("ttft_us", sa.BigInteger),
        sa.Column("candidates", sa.Text, nullable=False),
        sa.Column("drops", sa.Text, nullable=False),
        sa.Column("day", sa.Text, nullable=False),
    ]


def upgrade() -> None:
    op.create_table("spend_records", *columns())
    op.create_index("spend_records_time", "spend_records", ["simulated", "at_us"])
    op.create_index("spend_records_team_time", "spend_records", ["team", "at_us"])
    op.create_index("spend_records_request", "spend_records", ["request_id"])
