"""What is compared with what, and the services that it is written to."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from mgral.config.detector import MethodName
from mgral.section import (
    FOLDERS_TAKEN,
    STRATEGY_NAME,
    AtLeastOne,
    Count,
    Few,
    Section,
    alone_or_several,
    fits_into_path,
    folder_name,
)


class StudyConfig(Section):
    """Which strategies are compared, on which seeds, for how many cycles."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)] = "demo"
    """Name of its folder under runs/ and of its MLflow experiment."""
    strategies: Annotated[tuple[str, ...], BeforeValidator(alone_or_several)] = ("mgral", "random")
    """Names of strategies, or files FILE.py that hold one; the first is compared with the others."""
    seeds: tuple[Count, ...] = (0,)
    """Each draws splits (and scenes) of its own and trains its own detectors."""
    training: MethodName = "supervised"
    """What trains the detector of a cycle."""
    cycles: Few = 3
    """Times that images are chosen; one more detector is trained after the last."""
    budget: AtLeastOne = 40
    """Images annotated in each cycle."""
    budget_boxes: AtLeastOne | None = None
    """Boxes to draw in each cycle, as many as the detector expects: of the batch the best images that fit are taken."""
    true_gains: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Batches of each cycle whose true gain is measured, to set it beside the table's estimates: the next cycle's
    detector is trained on each, twice, and tested. Only a simulated oracle knows it, and nothing is chosen by it."""

    @model_validator(mode="after")
    def _each_once(self) -> StudyConfig:
        names = [folder_name(strategy) for strategy in self.strategies]
        for kind, values in (("strategies", names), ("seeds", self.seeds)):
            if not values or len(set(values)) < len(values):
                raise ValueError(f"expected each of the {kind} once and at least one, got {list(values)}")
        wrong = [name[:120] for path, name in zip(self.strategies, names, strict=True) if name in FOLDERS_TAKEN
                 or not fits_into_path(path) or not re.fullmatch(STRATEGY_NAME, name)]
        if wrong:
            raise ValueError(f"expected names of strategies of at most 100 letters, digits, _ and -, other than "
                             f"{', '.join(FOLDERS_TAKEN)}, got {', '.join(map(repr, wrong[:10]))}")
        return self


class SemisupStudyConfig(Section):
    """Semi-supervised methods against each other: the "partially labelled data" protocol of Soft Teacher's Table 2."""

    methods: tuple[MethodName, ...] = ("supervised", "mean_teacher")
    """Methods to compare, the baseline among them."""
    fractions: tuple[Annotated[float, Field(gt=0.0, le=1.0)], ...] = (0.1,)
    """Shares of the training images that are labelled."""
    folds: Few = 5
    """Draws of the labelled images, each with its own seed for the detector."""

    @model_validator(mode="after")
    def _each_once(self) -> SemisupStudyConfig:
        for name in ("methods", "fractions"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise ValueError(f"expected each of the {name} once and at least one, got {list(values)}")
        return self


class ServicesConfig(Section):
    """Where MLflow and the table of experiments are; without an address SQLite files under the working directory. The
    environment variable MLFLOW_TRACKING_URI takes precedence. PREFECT_API_URL or prefect.toml says where Prefect is."""

    mlflow_tracking_uri: str | None = None
    """A server's address, or a database's as SQLAlchemy writes it."""
    table_url: str | None = None
    """A database's address as SQLAlchemy writes it: postgresql+psycopg://user@host/database."""
