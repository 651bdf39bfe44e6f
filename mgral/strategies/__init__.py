"""Query strategies, a module each: what they need, how they score and select, and why they chose."""

from mgral.strategies.registry import check, get, names
from mgral.strategies.strategy import (
    INSPECTION,
    Need,
    PoolView,
    Selection,
    Strategy,
    choose,
    chosen,
    distinct_only,
)

__all__ = ["INSPECTION", "Need", "PoolView", "Selection", "Strategy", "check", "choose", "chosen", "distinct_only",
           "get", "names"]
