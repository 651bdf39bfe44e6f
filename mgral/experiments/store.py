"""The table's memory: every experiment ever run, in an SQL database, found again by its fingerprint.

The only module, with its migrations, that imports sqlalchemy and alembic.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import JSON, CheckConstraint, DateTime, Engine, MetaData, create_engine, event, select, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from mgral.errors import TableError
from mgral.experiments.record import Origin, Record

LOCKED_FOR = 30.0
"""Seconds to wait for another process's write."""


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention={
        "ix": "ix_%(column_0_label)s", "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s", "pk": "pk_%(table_name)s"})
    type_annotation_map: ClassVar = {datetime: DateTime(timezone=True), list: JSON, dict: JSON}


class Experiment(Base):
    """One row a `Record`, column for field."""

    __tablename__ = "experiment"
    __table_args__ = (CheckConstraint("origin in ('design', 'fallback', 'check', 'truth')", name="origin"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    fingerprint: Mapped[str] = mapped_column(unique=True)
    scope: Mapped[str] = mapped_column(index=True)
    study: Mapped[str]
    strategy: Mapped[str]
    cycle: Mapped[int]
    snapshot: Mapped[str]
    origin: Mapped[str]
    image_ids: Mapped[list]
    seed: Mapped[int]
    labelled: Mapped[int]
    figures: Mapped[dict]
    per_class: Mapped[dict]
    seconds: Mapped[float]
    steps: Mapped[int]
    code: Mapped[str]
    repeat: Mapped[int]
    curve: Mapped[list]
    mlflow_run_id: Mapped[str | None]
    prefect_flow_run_id: Mapped[str | None]
    created_at: Mapped[datetime]


class Table:
    """The store of experiments, opened by `open_table`; safe for several processes at once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reader = engine.execution_options(mgral_reads=True)

    def find(self, fingerprint: str) -> Record | None:
        with Session(self._reader) as session:
            row = session.scalar(select(Experiment).where(Experiment.fingerprint == fingerprint))
            return _record(row) if row else None

    def add(self, record: Record) -> Record:
        """Stores a record, whole or not at all, and returns it as stored.

        An experiment already known by its fingerprint stays as it was first recorded, and that one is returned.

        Raises:
            ValueError: a figure is not finite.
        """
        _check(record)
        values = {field.name: getattr(record, field.name) for field in fields(record)
                  if field.name not in ("id", "created_at")}
        values |= {"image_ids": list(record.image_ids), "figures": dict(record.figures),
                   "per_class": dict(record.per_class), "curve": [dict(point) for point in record.curve]}
        row = Experiment(**values, created_at=datetime.now(UTC))
        try:
            with Session(self._engine, expire_on_commit=False) as session, session.begin():
                session.add(row)
            return _record(row)
        except IntegrityError:
            known = self.find(record.fingerprint)
            if known is None:
                raise
            return known

    def records(self, scope: str | None = None, origin: Origin | None = None) -> list[Record]:
        """The records of a scope and an origin, or of all, in the order in which they were added."""
        filters = {Experiment.scope: scope, Experiment.origin: origin}
        return self._select(*(column == value for column, value in filters.items() if value is not None))

    def untracked(self, scope: str) -> list[Record]:
        """Those of a scope that no tracker shows yet, in the order in which they were added."""
        return self._select(Experiment.scope == scope, Experiment.mlflow_run_id.is_(None))

    def tag(self, fingerprint: str, *, mlflow_run_id: str | None = None,
            prefect_flow_run_id: str | None = None) -> None:
        """Notes in which runs an experiment is shown; an id not given stays as it is.

        Raises:
            ValueError: no such record.
        """
        runs = {"mlflow_run_id": mlflow_run_id, "prefect_flow_run_id": prefect_flow_run_id}
        if self.find(fingerprint) is None:
            raise ValueError(f"expected the fingerprint of a record, got {fingerprint!r}")
        values = {name: value for name, value in runs.items() if value is not None}
        if values:
            with Session(self._engine) as session, session.begin():
                session.execute(update(Experiment).where(Experiment.fingerprint == fingerprint).values(values))

    def close(self) -> None:
        self._engine.dispose()

    def _select(self, *conditions) -> list[Record]:
        with Session(self._reader) as session:
            return [_record(row) for row in session.scalars(select(Experiment).where(*conditions).order_by(
                Experiment.id))]

    def __enter__(self) -> Table:
        return self

    def __exit__(self, *_) -> None:
        self.close()


def open_table(url: str) -> Table:
    """Opens a table (`sqlite:///path/table.db` or any SQLAlchemy URL), made or brought up to date if need be.

    Raises:
        TableError: the database cannot be opened, is not one, or was written by a newer mgral.
    """
    with _faults(url):
        engine = _engine(url)
        try:
            with engine.begin() as connection:
                _upgrade(connection, url)
        except BaseException:
            engine.dispose()
            raise
    return Table(engine)


def check_url(url: str) -> None:
    """Checks that an address names a database and that its driver is installed; nothing is opened.

    Raises:
        TableError: it does not.
    """
    with _faults(url):
        create_engine(url).dispose()


def _engine(url: str) -> Engine:
    address = make_url(url)
    if address.get_backend_name() != "sqlite":
        return create_engine(address)
    if address.database and address.database != ":memory:":
        Path(address.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(address, connect_args={"timeout": LOCKED_FOR})
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection, _) -> None:
    """Readers beside one writer, and no transaction that the driver begins on its own."""
    connection.isolation_level = None
    try:
        for setting in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            _patiently(lambda setting=setting: connection.execute(f"PRAGMA {setting}").close())
    except sqlite3.Error:
        connection.close()
        raise


def _patiently(work: Callable[[], None]) -> None:
    """SQLite does not wait for the lock that a new file's first WAL takes, as it waits for all others."""
    deadline = time.monotonic() + LOCKED_FOR
    while True:
        try:
            return work()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _begin(connection) -> None:
    """A writer locks at once: one that starts as a reader and then writes is refused, however long it would wait."""
    connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get("mgral_reads") else "BEGIN IMMEDIATE")


def _upgrade(connection, url: str) -> None:
    """Runs the migrations that are missing, within the transaction of `connection`."""
    config = AlembicConfig()
    config.set_main_option("script_location", "mgral.experiments:migrations")
    config.attributes["connection"] = connection
    scripts = ScriptDirectory.from_config(config)
    current, newest = MigrationContext.configure(connection).get_current_revision(), scripts.get_current_head()
    if current == newest:
        return
    if current is not None and current not in {script.revision for script in scripts.walk_revisions()}:
        raise TableError(f"{_shown(url)}: expected a table of revision {newest} or older, got {current}; it was "
                         "written by a newer mgral, update this one")
    command.upgrade(config, "head")


@contextmanager
def _faults(url: str) -> Iterator[None]:
    try:
        yield
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError, ValueError) as error:
        raise TableError(f"{_shown(url)}: expected a database URL such as sqlite:///table.db, got {error}") from error
    except (DBAPIError, sqlite3.Error, OSError) as error:
        reason = error.orig if isinstance(error, DBAPIError) else error
        raise TableError(f"{_shown(url)}: expected a database that can be opened, got {reason}") from error


def _shown(url: str) -> str:
    """The URL without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return url


def _check(record: Record) -> None:
    figures = {**record.figures, "seconds": record.seconds}
    figures |= {f"per_class[{name}]": value for name, value in record.per_class.items() if value is not None}
    wrong = [f"{name} {value}" for name, value in figures.items() if not math.isfinite(value)]
    if wrong:
        raise ValueError(f"expected finite figures in record {record.fingerprint}, got {', '.join(wrong)}")


def _record(row: Experiment) -> Record:
    record = Record(**{field.name: getattr(row, field.name) for field in fields(Record)})
    # SQLite drops the zone.
    created_at = row.created_at if row.created_at.tzinfo else row.created_at.replace(tzinfo=UTC)
    return replace(record, image_ids=tuple(row.image_ids), curve=tuple(row.curve), created_at=created_at)
