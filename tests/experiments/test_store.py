import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError

from mgral.errors import TableError
from mgral.experiments.record import Record
from mgral.experiments.store import Base, open_table

RECORD = Record(fingerprint="f0", scope="s0", study="demo", strategy="mgral", cycle=1, snapshot="0" * 32,
                origin="design", image_ids=("10", "7"), seed=3, labelled=100,
                figures={"map": 0.25, "ap50": 0.5, "balanced_loss": 1.5, "loss": 1.25, "soft_ap": 0.3},
                per_class={"cat": 0.5, "ünïcode": None}, seconds=2.5, steps=40, code="abc", repeat=1,
                curve=({"step": 20, "map": 0.2}, {"step": 40, "map": 0.25}))


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/tables/table.db"


@pytest.fixture
def table(url):
    with open_table(url) as opened:
        yield opened


def test_a_record_comes_back_as_it_went_in(table):
    stored = table.add(RECORD)
    assert replace(stored, id=None, created_at=None) == RECORD
    assert stored.created_at.tzinfo == UTC
    assert abs(datetime.now(UTC) - stored.created_at) < timedelta(minutes=1)
    assert table.find("f0") == stored
    assert table.find("other") is None


def test_records_outlive_the_process(table, url):
    stored = table.add(RECORD)
    with open_table(url) as again:
        assert again.records() == [stored]


def test_the_same_experiment_twice_keeps_the_first(table):
    first = table.add(RECORD)
    assert table.add(replace(RECORD, figures={"map": 0.9})) == first
    assert table.records() == [first]


def test_records_by_scope_and_origin_in_the_order_of_adding(table):
    added = [("z", "a", "design"), ("b", "a", "fallback"), ("y", "b", "design"), ("c", "a", "design")]
    for name, scope, origin in added:
        table.add(replace(RECORD, fingerprint=name, scope=scope, origin=origin))
    assert [record.fingerprint for record in table.records()] == ["z", "b", "y", "c"]
    assert [record.fingerprint for record in table.records(scope="a")] == ["z", "b", "c"]
    assert [record.fingerprint for record in table.records(scope="a", origin="design")] == ["z", "c"]
    assert [record.fingerprint for record in table.records(origin="fallback")] == ["b"]


def test_a_record_is_tagged_with_its_runs(table):
    table.add(RECORD)
    table.tag("f0", mlflow_run_id="run")
    table.tag("f0", prefect_flow_run_id="flow")
    table.tag("f0")
    assert (table.find("f0").mlflow_run_id, table.find("f0").prefect_flow_run_id) == ("run", "flow")


def test_only_a_known_record_is_tagged(table):
    with pytest.raises(ValueError, match="expected the fingerprint of a record, got 'none'"):
        table.tag("none", mlflow_run_id="run")


@pytest.mark.parametrize("change", [{"figures": {"map": float("nan")}}, {"figures": {"loss": float("inf")}},
                                    {"per_class": {"cat": float("nan")}}])
def test_figures_that_are_no_numbers_are_refused(table, change):
    with pytest.raises(ValueError, match=r"expected finite figures in record f0, got (map|loss|per_class\[cat\]) "):
        table.add(replace(RECORD, **change))
    assert table.records() == []


def test_an_unknown_origin_is_refused_by_the_database(table):
    with pytest.raises(IntegrityError, match="CHECK constraint failed: ck_experiment_origin"):
        table.add(replace(RECORD, origin="guess"))


def test_the_migrations_make_the_schema_of_the_classes(table, url):
    engine = create_engine(url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
    engine.dispose()


ADDING = """
import sys
from dataclasses import replace
from mgral.experiments.store import open_table
from tests.experiments.test_store import RECORD
with open_table(sys.argv[1]) as table:
    for number in range(40):
        table.find(f"{sys.argv[2]}{number}")
        table.add(replace(RECORD, fingerprint=f"{sys.argv[2]}{number}"))
        table.add(replace(RECORD, fingerprint=f"shared{number}"))
"""


def test_two_processes_open_and_add_at_once_and_lose_nothing(url):
    command = [sys.executable, "-W", "error", "-c", ADDING, url]
    processes = [subprocess.Popen([*command, name], stderr=subprocess.PIPE, text=True) for name in "ab"]
    assert [(process.communicate(timeout=60)[1], process.returncode) for process in processes] == [("", 0), ("", 0)]
    with open_table(url) as table:
        names = [record.fingerprint for record in table.records()]
    assert sorted(names) == sorted(f"{name}{number}" for name in ("a", "b", "shared") for number in range(40))


def test_a_writer_waits_while_another_writes(table, url):
    """BEGIN IMMEDIATE takes the lock before anything is read."""
    with table._engine.begin():
        writer = subprocess.Popen([sys.executable, "-c", ADDING, url, "late"])
        with pytest.raises(subprocess.TimeoutExpired):
            writer.wait(timeout=2.5)
        assert table.find("late0") is None  # readers do not wait
    assert writer.wait(timeout=30) == 0
    assert table.find("late0") is not None


def test_a_file_that_is_no_database_is_one_clear_line(tmp_path):
    (tmp_path / "table.db").write_text("no database " * 500)
    with pytest.raises(TableError, match=r"table\.db: expected a database .*, got file is not a database$"):
        open_table(f"sqlite:///{tmp_path}/table.db")


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(TableError, match=r"table\.db: expected a database that can be opened, got .*file"):
        open_table(f"sqlite:///{tmp_path}/file/table.db")


@pytest.mark.parametrize("url", ["table.db", "nosuch://host/db"])
def test_an_address_that_is_none_is_one_clear_line(url):
    with pytest.raises(TableError, match=rf"^{url}: expected a database URL such as sqlite:///table\.db, got "):
        open_table(url)


def test_a_password_is_not_shown():
    with pytest.raises(TableError, match=r"^nosuch://me:\*\*\*@host/db: expected a database URL") as caught:
        open_table("nosuch://me:secret@host/db")
    assert "secret" not in str(caught.value)


def test_a_table_of_a_newer_mgral_is_one_clear_line(table, url):
    table.add(RECORD)
    with table._engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(TableError, match=r"table\.db: expected a table of revision 0003 or older, got 9999; it "
                                         r"was written by a newer mgral, update this one$"):
        open_table(url)
    assert len(table.records()) == 1


def test_a_table_in_memory():
    with open_table("sqlite://") as table:
        table.add(RECORD)
        assert len(table.records()) == 1


def test_records_of_an_older_table_stay(tmp_path):
    path = tmp_path / "old.db"
    config = AlembicConfig()
    config.set_main_option("script_location", "mgral.experiments:migrations")
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(text(
            "INSERT INTO experiment (fingerprint, scope, study, strategy, cycle, snapshot, origin, image_ids, seed, "
            "labelled, map, ap50, balanced_loss, loss, per_class, seconds, steps, code, created_at) VALUES ('f', 's', "
            "'demo', 'mgral', 1, 'x', 'design', '[\"a\"]', 3, 9, .25, .5, 1.5, 1.25, '{}', 2.5, 40, 'abc', "
            "'2026-01-01 00:00:00')"))
    engine.dispose()
    with open_table(f"sqlite:///{path}") as table:
        old, = table.records()
        assert (old.image_ids, old.repeat, old.curve) == (("a",), 0, ())
        assert old.figures == {"map": 0.25, "ap50": 0.5, "balanced_loss": 1.5, "loss": 1.25}
        assert table.add(replace(RECORD, origin="truth")).id == old.id + 1
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0002")
        assert connection.execute(text("select map, soft_ap from experiment order by id")).all() == [
            (0.25, None), (0.25, 0.3)]
    engine.dispose()


def test_records_that_no_tracker_shows_yet(table):
    for name, run in (("f0", None), ("f1", "run")):
        table.add(replace(RECORD, fingerprint=name, mlflow_run_id=run))
    assert [record.fingerprint for record in table.untracked("s0")] == ["f0"]
    assert table.untracked("other") == []
    table.tag("f0", mlflow_run_id="later")
    assert table.untracked("s0") == []
