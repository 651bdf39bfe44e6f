"""A team's first weeks with real processes: labels go out to annotation tools and come back, and nothing is lost."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml

from tests.conftest import ROOT
from tests.flows.test_people import shorten
from tests.real_label_studio import PROGRAM, running
from tests.team import SECONDS, Team

GIT = {f"GIT_{who}_{what}": "team@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
ENVIRONMENT = os.environ | GIT | {"PYTHONPATH": str(ROOT), "DVC_NO_ANALYTICS": "1", "PATH":
                                  f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
WAITS = 3
"""Status of a DVC stage that waits for people."""


class Project:
    """A team's working directory under git and DVC; every command is a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *command: str, status: int = 0, **more: str) -> str:
        ended = subprocess.run(command, cwd=self.folder, env=ENVIRONMENT | more, capture_output=True, text=True,
                               timeout=600, check=False)
        assert ended.returncode == status, ended.stdout + ended.stderr
        return ended.stdout + ended.stderr

    def mgral(self, *words: str, status: int = 0, **more: str) -> str:
        return self.run(sys.executable, "-m", "flows.cli", *words, status=status, **more)

    def dvc(self, *words: str, status: int = 0) -> str:
        return self.run(sys.executable, "-m", "dvc", *words, status=status)

    def killed(self, *words: str, after: float) -> None:
        """Starts a command and kills it and all that it began, so many seconds later."""
        process = subprocess.Popen([sys.executable, "-m", "flows.cli", *words], cwd=self.folder, env=ENVIRONMENT,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        time.sleep(after)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def begin(self, cycles: int) -> None:
        self.run("git", "init", "--quiet")
        self.dvc("init", "--quiet")
        self.mgral("init", "data")
        shorten(self.folder / "params.yaml", strategies=["balanced_entropy"], budget=6, cycles=cycles)
        self.mgral("dvc")

    def batch(self, cycle: int) -> Path:
        return self.folder / f"batches/s/seed-0/balanced_entropy-{cycle}"

    def result(self, cycle: int) -> dict:
        return json.loads((self.folder / f"runs/s/seed-0/balanced_entropy/{cycle}/result.json").read_text())

    def status(self) -> str:
        said = self.mgral("status")
        assert re.match(r"study s \(params\.yaml\): \d cycles of 6 images\nbalanced_entropy, seed 0: ", said)
        return said

    def assert_clean(self) -> None:
        assert "Data and pipelines are up to date." in self.dvc("status")


def boxes_of(path: Path) -> dict[str, list]:
    """Boxes by name of the image, as (class, corners to a tenth of a pixel)."""
    content = json.loads(path.read_text())
    classes = {entry["id"]: entry["name"] for entry in content["categories"]}
    names = {image["id"]: Path(image["file_name"]).name for image in content["images"]}
    found = {name: [] for name in names.values()}
    for entry in content["annotations"]:
        x, y, width, height = entry["bbox"]
        found[names[entry["image_id"]]].append((classes[entry["category_id"]], *(
            round(side, 1) for side in (x, y, x + width, y + height))))
    return {name: sorted(boxes) for name, boxes in found.items()}


def truth(team: Team, names) -> dict[str, list]:
    return {name: sorted((label, *(round(side, 1) for side in corners)) for label, *corners in team.boxes[name])
            for name in names}


def assert_labelled(project: Project, team: Team, *cycles: int) -> None:
    """What people said of these cycles' batches is what the labels in force say, and the snapshots built on them."""
    for cycle in cycles:
        said = boxes_of(project.batch(cycle) / "labels.json")
        assert len(said) == 6
        assert said == truth(team, said)
        snapshot = project.folder / f"runs/s/seed-0/balanced_entropy/{cycle}/annotations.json"
        assert {name: boxes_of(snapshot)[name] for name in said} == said


def assert_tracked(project: Project, *cycles: int) -> None:
    """MLflow has one run a cycle, ended, that says what the files say."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{project.folder / 'mlruns/mlflow.db'}")
    (experiment,) = (one for one in client.search_experiments() if one.name == "s")
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    current = [run for run in runs if run.data.tags["mgral.kind"] == "cycle" and "mgral.outdated" not in run.data.tags]
    assert sorted(int(run.data.params["cycle"]) for run in current) == list(cycles)
    for run in current:
        result = project.result(int(run.data.params["cycle"]))
        labels = json.loads((project.batch(result["cycle"]) / "labels.json").read_text())["info"]
        assert (run.data.metrics["map"], run.data.tags["mgral.snapshot"], run.data.tags["mgral.labelled"]) == (
            result["map"], result["trained_on"], result["snapshot"])
        assert run.data.tags["mgral.import"] == f"{labels['number']}, {labels['when']}"
        assert run.data.metrics["labels/added"] == labels["changes"]["added"]


def test_the_first_weeks_of_a_team(tmp_path):
    """YOLO labels; Label Studio, CVAT and a correction; DVC beside; at last on a colleague's clone."""
    team, project = Team(tmp_path, "yolo"), Project(tmp_path)
    project.begin(cycles=2)
    assert project.status().endswith("next: mgral run\n")
    assert "WAITING for annotations of 6 images (balanced_entropy, cycle 1)" in project.mgral("run")
    assert "cycle 1: WAITING for annotations of 6 images" in project.status()

    back = through_label_studio(team, project, tmp_path)
    chosen = (project.batch(1) / "batch.json").read_bytes()
    project.killed("run", after=4)
    project.killed("import", back, after=2)
    assert (project.batch(1) / "batch.json").read_bytes() == chosen
    said = project.mgral("import", "--preview", back, "--cycle", "1")
    assert "6 of 6 images labelled (Label Studio JSON)" in said
    assert f"people worked {6 * SECONDS / 60:.1f} minutes on 6 images: {3600 / SECONDS:.0f} images" in said
    project.mgral("import", back, "--cycle", "1")
    assert "its 6 images are labelled; `mgral run` goes on" in project.status()
    while "taken back: nobody has labelled the batch" not in project.mgral("import", "--undo"):
        pass  # the one that was killed may have come through
    assert "cycle 1: WAITING for annotations of 6 images" in project.status()
    project.mgral("import", back)

    assert "(balanced_entropy, cycle 2)" in project.mgral("run")
    assert_labelled(project, team, 1)
    project.mgral("export", "--to", "cvat")
    out = tmp_path / "runs/s/seed-0/export/balanced_entropy-2-cvat"
    project.mgral("import", str(team.in_cvat(out / "annotations.xml", tmp_path / "annotations.xml")))
    assert "balanced_entropy ends at mAP" in project.mgral("run")
    assert "next: nothing: the study is finished" in project.status()
    assert_labelled(project, team, 1, 2)
    assert_tracked(project, 1, 2)
    project.assert_clean()

    corrected_by(team, project, tmp_path)
    on_a_clone(team, project, tmp_path)


def through_label_studio(team: Team, project: Project, folder: Path) -> str:
    """The batch to Label Studio and, labelled, back: to a real one where it is installed, else by its files."""
    project.mgral("export", "--to", "label-studio")
    tasks = folder / "runs/s/seed-0/export/balanced_entropy-1-label-studio/tasks.json"
    if not PROGRAM.exists():
        return str(team.in_label_studio(tasks, folder / "export.json"))
    with running(folder.parent / "studio") as studio:
        key = {"LABEL_STUDIO_API_KEY": studio.token}
        assert "6 sent" in project.mgral("push", "--label-studio", studio.url, **key)
        place = json.loads((project.batch(1) / "label-studio.json").read_text())["project"]
        for task in studio.tasks(place).values():
            boxes = enumerate(team.boxes[Path(task["data"]["path"]).name])
            studio.annotate(task, result=[team.region(number, *box) for number, box in boxes], lead_time=SECONDS)
        assert "6 of 6 finished" in project.mgral("pull", **key)
    project.mgral("import", "--undo")
    return str(folder / "runs/s/seed-0/pulled/balanced_entropy-1.json")


def corrected_by(team: Team, project: Project, folder: Path) -> None:
    """A week later somebody corrects the first batch: what was built on it says so, and is made anew by DVC."""
    name = next(name for name in boxes_of(project.batch(1) / "labels.json") if team.boxes[name])
    label, *corners = team.boxes[name][0]
    team.boxes[name][0] = (next(other for other in team.classes if other != label), *corners)
    tasks = folder / "runs/s/seed-0/export/balanced_entropy-1-label-studio/tasks.json"
    said = project.mgral("import", "--cycle", "1", str(team.in_label_studio(tasks, folder / "again.json")))
    assert re.search(r"against what import \d said: \d+ kept, 0 moved, 1 relabelled, 0 deleted, 0 added", said)
    assert "built on labels that were corrected since" in project.status()
    assert "balanced_entropy-2:" in project.dvc("status")
    before = project.result(2)
    said = project.dvc("repro")
    assert "Stage 'balanced_entropy-1' didn't change, skipping" in said
    assert "Running stage 'balanced_entropy-2'" in said
    after = project.result(2)
    assert after["choice"]["ids"] == before["choice"]["ids"]
    assert after["trained_on"] == project.result(1)["snapshot"] != before["trained_on"]
    assert "corrected since" not in project.status()
    assert_labelled(project, team, 1, 2)
    assert_tracked(project, 1, 2)
    project.assert_clean()


def on_a_clone(team: Team, project: Project, folder: Path) -> None:
    """Pushed, cloned, pulled: the labels are there, and the study goes on."""
    project.dvc("remote", "add", "--default", "store", str(folder.parent / "remote"))
    for ignored in ("/runs/", "/mlruns/", "/scenes/", "/*.json", "/*.xml"):
        with (folder / ".gitignore").open("a") as file:
            file.write(f"{ignored}\n")
    project.run("git", "add", ".")
    project.run("git", "commit", "--quiet", "--message", "two weeks")
    project.dvc("push")
    clone = Project(folder.parent / "clone")
    project.run("git", "clone", "--quiet", ".", str(clone.folder))
    clone.dvc("pull")
    assert_labelled(clone, team, 1, 2)
    clone.assert_clean()
    assert clone.status() == project.status()
    params = clone.folder / "params.yaml"
    params.write_text(params.read_text().replace("cycles: 2", "cycles: 3"))
    assert "(balanced_entropy, cycle 3)" in clone.mgral("run")
    assert_labelled(clone, team, 1, 2)


def test_by_dvc_alone(tmp_path):
    """Roboflow's VOC; a stage that waits says so and fails, and goes on after the import."""
    team, project = Team(tmp_path, "roboflow"), Project(tmp_path)
    project.begin(cycles=1)
    assert "WAITING for annotations of 6 images (balanced_entropy, cycle 1)" in project.dvc("repro", status=255)
    project.mgral("export", "--to", "voc")
    back = team.in_voc(tmp_path / "runs/s/seed-0/export/balanced_entropy-1-voc/voc")
    assert "6 of 6 images labelled (Pascal VOC XML)" in project.mgral("import", str(back))
    stages = yaml.safe_load((tmp_path / "dvc.yaml").read_text())["stages"]
    assert "batches/${study.name}/seed-0/balanced_entropy-1/labels.json" in stages["balanced_entropy-1"]["deps"]
    assert "Running stage 'report'" in project.dvc("repro")
    assert "next: nothing: the study is finished" in project.status()
    assert_labelled(project, team, 1)
    assert_tracked(project, 1)
    project.assert_clean()
    shutil.rmtree(tmp_path / "runs/s/seed-0/balanced_entropy")
    project.dvc("repro")
    assert_labelled(project, team, 1)
