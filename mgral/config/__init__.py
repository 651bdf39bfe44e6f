"""Every setting of a run: one frozen class a section of params.yaml, which `mgral.params` reads.

Library functions take their own section (or plain values), never the whole `Config`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from mgral.config.choice import AgentConfig, Block, PoolConfig, SearchConfig, TableConfig
from mgral.config.data import DataConfig, SyntheticConfig
from mgral.config.detector import (
    WEIGHTS,
    DetectorConfig,
    MethodName,
    SemisupConfig,
    SoftTeacherConfig,
    TrainingConfig,
)
from mgral.config.study import SemisupStudyConfig, ServicesConfig, StudyConfig
from mgral.section import Section, folder_name

__all__ = ["WEIGHTS", "AgentConfig", "Block", "Config", "DataConfig", "DetectorConfig", "MethodName", "PoolConfig",
           "SearchConfig", "Section", "SemisupConfig", "SemisupStudyConfig", "ServicesConfig", "SoftTeacherConfig",
           "StudyConfig", "SyntheticConfig", "TableConfig", "TrainingConfig", "folder_name"]


class Config(Section):
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where trainings and searches run; `auto` is a GPU where there is one."""
    data: DataConfig = DataConfig()
    detector: DetectorConfig = DetectorConfig()
    training: TrainingConfig = TrainingConfig()
    semisup: SemisupConfig = SemisupConfig()
    pool: PoolConfig = PoolConfig()
    table: TableConfig = TableConfig()
    search: SearchConfig = SearchConfig()
    study: StudyConfig = StudyConfig()
    semisup_study: SemisupStudyConfig = SemisupStudyConfig()
    services: ServicesConfig = ServicesConfig()

    @model_validator(mode="after")
    def _shortlist_holds_a_batch(self) -> Config:
        if self.table.shortlist is not None and self.table.shortlist < self.study.budget:
            raise ValueError(f"expected a table.shortlist of at least study.budget, {self.study.budget} images, got "
                             f"{self.table.shortlist}; raise it or leave it out")
        return self
