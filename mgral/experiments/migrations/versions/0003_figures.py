"""What was measured as one mapping, so that another figure needs no other column."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

FIGURES = ("map", "ap50", "soft_ap", "balanced_loss", "loss")


def upgrade() -> None:
    op.add_column("experiment", sa.Column("figures", sa.JSON, nullable=False, server_default="{}"))
    connection = op.get_bind()
    for row in connection.execute(sa.text(f"select id, {', '.join(FIGURES)} from experiment")).mappings():  # noqa: S608
        figures = {name: row[name] for name in FIGURES if row[name] is not None}
        connection.execute(sa.text("update experiment set figures = :figures where id = :id"),
                           {"figures": json.dumps(figures), "id": row["id"]})
    op.drop_index("ix_experiment_kind", "experiment")
    for name in (*FIGURES, "kind"):
        op.drop_column("experiment", name)


def downgrade() -> None:
    for name in FIGURES:
        op.add_column("experiment", sa.Column(name, sa.Double))
    op.add_column("experiment", sa.Column("kind", sa.String, nullable=False, server_default=""))
    op.create_index("ix_experiment_kind", "experiment", ["kind"])
    connection = op.get_bind()
    for row in connection.execute(sa.text("select id, figures from experiment")).mappings():
        figures = row["figures"] if isinstance(row["figures"], dict) else json.loads(row["figures"])
        values = ", ".join(f"{name} = :{name}" for name in FIGURES)
        connection.execute(sa.text(f"update experiment set {values} where id = :id"),  # noqa: S608
                           {**{name: figures.get(name) for name in FIGURES}, "id": row["id"]})
    op.drop_column("experiment", "figures")
