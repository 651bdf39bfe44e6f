"""Addresses of services: which one counts, and what is said of one that cannot be used."""

import pytest

from mgral.config import ServicesConfig
from mgral.errors import ConfigError
from mgral.study.services import check_services, mlflow_tracking_uri, table_url
from mgral.study.workspace import Workspace


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Workspace(tmp_path, "s", 0)


def test_sqlite_files_under_the_working_directory_where_nothing_is_said(workspace):
    services = ServicesConfig()
    assert mlflow_tracking_uri(services, workspace) == f"sqlite:///{workspace.root}/mlruns/mlflow.db"
    assert table_url(services, workspace) == f"sqlite:///{workspace.root}/runs/table.db"
    check_services(services, workspace)
    assert not (workspace.root / "runs").exists()


def test_the_environment_takes_precedence(workspace, monkeypatch):
    services = ServicesConfig(mlflow_tracking_uri="http://b", table_url="sqlite:///c")
    assert (mlflow_tracking_uri(services, workspace), table_url(services, workspace)) == ("http://b", "sqlite:///c")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://e")
    assert mlflow_tracking_uri(services, workspace) == "http://e"


def test_all_addresses_that_cannot_be_used_are_named(workspace):
    services = ServicesConfig(mlflow_tracking_uri="postgres//b", table_url="postgresql://host:port/c")
    with pytest.raises(ConfigError) as caught:
        check_services(services, workspace)
    assert [problem.partition(", got")[0] for problem in caught.value.problems] == [
        "services.mlflow_tracking_uri: postgres//b: expected a database URL such as sqlite:///table.db",
        "services.table_url: postgresql://host:port/c: expected a database URL such as sqlite:///table.db"]
    assert all("\n" not in problem for problem in caught.value.problems)
