"""Run by alembic; the connection, already in a transaction, comes from `mgral.experiments.store`."""

from alembic import context

from mgral.experiments.store import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata,
                  render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
