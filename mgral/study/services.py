"""Where MLflow and the table of experiments are: the environment first, then the settings, then SQLite files under the
working directory. Where Prefect is, its own settings say: `PREFECT_API_URL`, or prefect.toml."""

from __future__ import annotations

import os

from mgral.config import ServicesConfig
from mgral.errors import ConfigError, TableError
from mgral.experiments.store import check_url
from mgral.study.workspace import Workspace


def mlflow_tracking_uri(services: ServicesConfig, workspace: Workspace) -> str:
    return (os.environ.get("MLFLOW_TRACKING_URI") or services.mlflow_tracking_uri
            or f"sqlite:///{(workspace.mlruns / 'mlflow.db').resolve()}")


def table_url(services: ServicesConfig, workspace: Workspace) -> str:
    return services.table_url or f"sqlite:///{workspace.table}"


def check_services(services: ServicesConfig, workspace: Workspace) -> None:
    """Checks the addresses' form; nothing is opened.

    Raises:
        ConfigError: addresses that cannot be used, all of them.
    """
    mlflow, faults = mlflow_tracking_uri(services, workspace), []
    if not mlflow.startswith(("http://", "https://")):
        faults += _faults_of("services.mlflow_tracking_uri", mlflow)
    faults += _faults_of("services.table_url", table_url(services, workspace))
    if faults:
        raise ConfigError(*faults)


def _faults_of(setting: str, url: str) -> list[str]:
    try:
        check_url(url)
    except TableError as error:
        return [f"{setting}: {problem}" for problem in error.problems]
    return []
