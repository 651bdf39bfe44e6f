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


MERGED = "<<<<<<< HEAD\n  good:\n=======\n  other:\n>>>>>>> theirs\n"


@pytest.mark.parametrize("name", ["dvc.lock", "dvc.yaml"])
@pytest.mark.parametrize(("damaged", "line", "got"), [
    (lambda text: text.replace("  good:\n", MERGED), 3, "what git left of a merge ('<<<<<<< HEAD')"),
    (lambda text: MERGED + text, 1, "what git left of a merge ('<<<<<<< HEAD')"),
    (lambda text: text + ">>>>>>> theirs\n", 1 + 100, "what git left of a merge ('>>>>>>> theirs')"),
    (lambda text: text + "\n[1", 2 + 100, "expected"),
])
def test_a_damaged_file_of_dvc_is_named_with_its_line_and_stops_nothing(project, heard, name, damaged, line, got):
    commit_stage(project, "good", project / "params.yaml")
    text = f"# DVC's\n{(project / name).read_text()}".replace("good: {cmd", "good:\n    {cmd").replace(
        "schema: '2.0'\n", "")
    (project / name).write_text(damaged(text))
    assert not commit_stage(project, "good", project / "params.yaml")
    (note,) = heard.notes
    where, _, rest = note.partition(": expected YAML, got ")
    assert where == f"{name}:{line if line < 100 else line - 100 + text.count(chr(10))}"
    assert got in rest
    assert note.endswith("; stage good is not recorded: mend the file, then `dvc commit good`")


def test_another_process_of_dvc_stops_nothing(project, heard):
    from dvc.lock import Lock

    with Lock(str(project / ".dvc" / "tmp" / "lock")):
        assert not commit_stage(project, "good", project / "params.yaml")
    assert "expected DVC to record stage good, got: " in heard.notes[0]
