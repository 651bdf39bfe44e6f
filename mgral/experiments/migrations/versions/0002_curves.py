"""Curves, repeats, soft average precision, kinds of experiments across cycles, and true gains."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

ORIGINS = {"0001": "origin in ('design', 'fallback', 'check')",
           "0002": "origin in ('design', 'fallback', 'check', 'truth')"}


def upgrade() -> None:
    with op.batch_alter_table("experiment") as table:
        table.add_column(sa.Column("soft_ap", sa.Double))
        table.add_column(sa.Column("kind", sa.String, nullable=False, server_default=""))
        table.add_column(sa.Column("repeat", sa.Integer, nullable=False, server_default="0"))
        table.add_column(sa.Column("curve", sa.JSON, nullable=False, server_default="[]"))
        table.drop_constraint(op.f("ck_experiment_origin"), type_="check")
        table.create_check_constraint(op.f("ck_experiment_origin"), sa.text(ORIGINS["0002"]))
    op.create_index("ix_experiment_kind", "experiment", ["kind"])


def downgrade() -> None:
    op.execute("delete from experiment where origin = 'truth'")
    op.drop_index("ix_experiment_kind", "experiment")
    with op.batch_alter_table("experiment") as table:
        table.drop_constraint(op.f("ck_experiment_origin"), type_="check")
        table.create_check_constraint(op.f("ck_experiment_origin"), sa.text(ORIGINS["0001"]))
        for column in ("curve", "repeat", "kind", "soft_ap"):
            table.drop_column(column)
