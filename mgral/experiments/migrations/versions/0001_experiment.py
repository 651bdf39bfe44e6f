"""The table of experiments."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "experiment",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("fingerprint", sa.String, nullable=False),
        sa.Column("scope", sa.String, nullable=False),
        sa.Column("study", sa.String, nullable=False),
        sa.Column("strategy", sa.String, nullable=False),
        sa.Column("cycle", sa.Integer, nullable=False),
        sa.Column("snapshot", sa.String, nullable=False),
        sa.Column("origin", sa.String, nullable=False),
        sa.Column("image_ids", sa.JSON, nullable=False),
        sa.Column("seed", sa.Integer, nullable=False),
        sa.Column("labelled", sa.Integer, nullable=False),
        sa.Column("map", sa.Double, nullable=False),
        sa.Column("ap50", sa.Double, nullable=False),
        sa.Column("balanced_loss", sa.Double, nullable=False),
        sa.Column("loss", sa.Double, nullable=False),
        sa.Column("per_class", sa.JSON, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("steps", sa.Integer, nullable=False),
        sa.Column("code", sa.String, nullable=False),
        sa.Column("mlflow_run_id", sa.String),
        sa.Column("prefect_flow_run_id", sa.String),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_experiment"),
        sa.UniqueConstraint("fingerprint", name="uq_experiment_fingerprint"),
        sa.CheckConstraint("origin in ('design', 'fallback', 'check')", name=op.f("ck_experiment_origin")))
    op.create_index("ix_experiment_scope", "experiment", ["scope"])


def downgrade() -> None:
    op.drop_table("experiment")
