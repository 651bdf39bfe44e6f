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


@pytest.mark.parametrize("statement", ["import mgral", "import flows.cli", "import mgral.progress"])
def test_light_imports_load_nothing_heavy(statement):
    code = f"{statement}; import sys; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not set(loaded.split()) & set(HEAVY)


def imports() -> dict[str, set[str]]:
    """Of each module of the library, tasks and flows the modules that it imports, for type checking too."""
    paths = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
             for package in ("mgral", "tasks", "flows") for path in (ROOT / package).rglob("*.py")}
    graph = {}
    for name, path in paths.items():
        nodes = list(ast.walk(ast.parse(path.read_text())))
        named = {f"{node.module}.{alias.name}" for node in nodes if isinstance(node, ast.ImportFrom)
                 for alias in node.names}
        named |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        graph[name] = {whole if whole in paths else whole.rpartition(".")[0] for whole in named} & set(paths) - {name}
    return graph


def test_others_import_detection_itself_and_none_of_its_modules():
    inside = {f"{name} → {module}" for name, imported in imports().items() if not name.startswith("mgral.detection")
              for module in imported if module.startswith("mgral.detection.")}
    assert inside == set()


def test_no_files_import_each_other_in_a_circle():
    left = imports()
    while free := {name for name, imported in left.items() if not imported & set(left)}:
        left = {name: imported for name, imported in left.items() if name not in free}
    assert left == {}


def test_no_module_seeds_globally_or_unpickles():
    banned = ("torch.manual_seed", "np.random.seed", "random.seed", "pickle.load", "weights_only=False",
              "yaml.load(", "allow_pickle=True", "shell=True")
    uses = [f"{path.relative_to(ROOT)}: {word}" for package in ("mgral", "tasks", "flows")
            for path in (ROOT / package).rglob("*.py") for word in banned
            if word in path.read_text() and "fork_rng" not in path.read_text()]
    assert uses == []


def test_every_module_says_what_it_is_for():
    silent = [str(path.relative_to(ROOT)) for package in ("mgral", "tasks", "flows")
              for path in (ROOT / package).rglob("*.py") if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []


def test_flows_that_prefect_deploys_can_be_imported():
    """Prefect deploys a placeholder when an import fails, and says nothing."""
    import importlib

    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    for deployment in deployments:
        module, name = deployment["entrypoint"].removesuffix(".py").replace(".py", "").replace("/", ".").split(":")
        assert getattr(importlib.import_module(module), name).name == name


def sources(*packages: str) -> list[Path]:
    return [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]


def test_no_module_is_longer_than_400_lines_and_no_function_than_60():
    paths = sources("mgral", "tasks", "flows", "benchmarks", "tests")
    modules = [str(path.relative_to(ROOT)) for path in paths if len(path.read_text().splitlines()) > 400]
    functions = [f"{path.relative_to(ROOT)}:{node.lineno} {node.name}" for path in paths
                 for node in ast.walk(ast.parse(path.read_text()))
                 if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno >= 60]
    assert (modules, functions) == ([], [])


def test_settings_stay_few():
    from pydantic import BaseModel

    from mgral.config import Config

    def count(section: type[BaseModel]) -> int:
        return sum(count(field.annotation) if isinstance(field.annotation, type)
                   and issubclass(field.annotation, BaseModel) else 1 for field in section.model_fields.values())

    assert count(Config) <= 90
