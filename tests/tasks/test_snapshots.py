"""What DVC records of a stage that was run outside of it."""

from pathlib import Path

import pytest

from mgral.progress import Lines, Progress, current
from tasks.snapshots import commit_stage


@pytest.fixture
def project(tmp_path, monkeypatch):
    from dvc.repo import Repo

    monkeypatch.chdir(tmp_path)

    Repo.init(str(tmp_path), no_scm=True).close()
    (tmp_path / "params.yaml").write_text("known: 1\n")
    (tmp_path / "made").write_text("made")
    (tmp_path / "dvc.yaml").write_text("stages:\n  good: {cmd: 'true', params: [known], outs: [made]}\n"
                                       "  stale: {cmd: 'true', params: [unknown]}\n")
    return Path()


def test_a_stage_that_was_run_counts_as_done(project):
    assert commit_stage(project, "good", project / "params.yaml")
    assert "good:" in (project / "dvc.lock").read_text()
    assert not commit_stage(project, "nowhere", project / "params.yaml")
    assert not commit_stage(project, "good", project / "other.yaml")


def test_what_dvc_refuses_is_said_and_stops_nothing(project):
    said = []
    token = current.set(Progress(Lines(said.append)))
    assert not commit_stage(project, "stale", project / "params.yaml")
    current.reset(token)
    (line,) = said
    assert "expected DVC to record stage stale, got: " in line
    assert "`mgral dvc` writes dvc.yaml anew, `dvc commit stale` records the stage later" in line
