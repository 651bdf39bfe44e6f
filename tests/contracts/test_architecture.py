"""The house: who may import whom, which packages have one owner, and what must stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "mmdet", "mmcv", "mmengine", "prefect", "mlflow", "dvc", "sqlalchemy", "faiss")


def test_layers_and_owners(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert lint_imports(config_filename="pyproject.toml", no_cache=True) == 0, capsys.readouterr().out


@pytest.mark.parametrize("statement", ["import mgral", "import flows.cli", "import mgral.study.progress"])
def test_light_imports_load_nothing_heavy(statement):
    code = f"{statement}; import sys; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not set(loaded.split()) & set(HEAVY)


def test_no_module_seeds_globally_or_unpickles():
    banned = ("torch.manual_seed", "np.random.seed", "random.seed", "pickle.load", "weights_only=False",
              "yaml.load(", "allow_pickle=True", "shell=True")
    found = [f"{path.relative_to(ROOT)}: {word}" for package in ("mgral", "tasks", "flows")
             for path in (ROOT / package).rglob("*.py") for word in banned
             if word in path.read_text() and "fork_rng" not in path.read_text()]
    assert found == []


def test_every_module_says_what_it_is_for():
    silent = [str(path.relative_to(ROOT)) for package in ("mgral", "tasks", "flows")
              for path in (ROOT / package).rglob("*.py") if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []


def test_flows_that_prefect_deploys_can_be_imported():
    """Prefect deploys a placeholder when an import fails, and says nothing."""
    import importlib

    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    for one in deployments:
        module, name = one["entrypoint"].removesuffix(".py").replace(".py", "").replace("/", ".").split(":")
        assert getattr(importlib.import_module(module), name).name == name


def test_dvc_has_a_stage_for_every_cycle_of_the_shipped_study():
    from flows.arguments import job_of
    from flows.plan import check_stages

    check_stages(job_of(ROOT / "params.yaml", ROOT, None))
