"""What a batch is worth, estimated from the records of the table (MGRAL, section III-F): a module an estimator."""

from __future__ import annotations

from mgral.config import TableConfig
from mgral.lookup.estimator.base import Estimate, Estimator, LeftOut, threshold
from mgral.lookup.estimator.ensemble import Ensemble
from mgral.lookup.estimator.gaussian_process import GaussianProcess
from mgral.lookup.estimator.inverse_distance import InverseDistance
from mgral.lookup.estimator.ridge import PENALTIES, Ridge
from mgral.lookup.representation import Representation

__all__ = ["PENALTIES", "Ensemble", "Estimate", "Estimator", "GaussianProcess", "InverseDistance", "LeftOut", "Ridge",
           "make_estimator", "threshold"]


def make_estimator(config: TableConfig, represent: Representation, seed: int) -> Estimator:
    """The estimator that the settings name, not yet fitted, for batches that `represent` describes.

    The same seed gives the same estimates; those in closed form have no use for one.
    """
    makers = {"inverse_distance": lambda: InverseDistance(config.neighbours, config.metric),
              "ridge": lambda: Ridge(config.metric),
              "gp": lambda: GaussianProcess(represent.names, config.metric),
              "ensemble": lambda: Ensemble(represent.images, represent.names, seed, config.metric)}
    return makers[config.estimator]()
