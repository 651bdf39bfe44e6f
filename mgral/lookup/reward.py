"""The reward of the search: the table's estimate, and a real experiment where the table knows too little."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mgral.data.dataset import Batch
from mgral.errors import StateError
from mgral.lookup.described import Described
from mgral.lookup.estimator import Estimate, Estimator


class TableReward:
    """Values batches by a fitted estimator (MGRAL, section III-F); callable as (list of M batches) -> (M,).

    A batch farther from every record than the estimator's threshold asks for a real experiment. At most one a call is
    run, for the batch farthest out, of which the table knows least (the others were drawn from the same scores, and
    its result speaks for them too), and at most `cap` in all, with at least `interval` calls from one to the next: a
    search that drifts away from the table is then corrected all along its way, not only on its first steps. The
    result is that batch's value, joins the estimator, and the other batches of the call are estimated with it.

    `risk_aversion` times the estimate's deviation is taken off every estimate (0: the paper). The estimator is changed;
    `state()` holds what is needed to change a freshly fitted one alike.
    """

    def __init__(self, represent: Callable[[Sequence[Batch]], Described], estimator: Estimator,
                 run_experiment: Callable[[Batch], float], cap: int, interval: int = 1,
                 risk_aversion: float = 0.0, state: dict | None = None) -> None:
        self.represent, self.estimator, self.run_experiment = represent, estimator, run_experiment
        self.cap, self.interval, self.risk_aversion = cap, interval, risk_aversion
        self.fallbacks: list[tuple[Batch, float]] = []
        self.calls, self.asked, self.refused, self.last = 0, 0, 0, None
        """Calls; batches beyond the threshold; those among them that met the cap; the call of the last experiment."""
        if state is not None:
            self._restore(state)

    def __call__(self, batches: list[Batch]) -> np.ndarray:
        queries = self.represent(batches)
        estimate = self.estimator.predict(queries)
        far = int((estimate.nearest > self.estimator.threshold).sum())
        self.calls += 1
        self.asked += far
        if not far or not self._may_run(far):
            return self._lower_bound(estimate)
        row = int(estimate.nearest.argmax())
        measured = self._run(batches[row], queries[row])
        estimate = self.estimator.predict(queries)
        values = self._lower_bound(estimate)
        values[row] = measured
        return values

    def estimate(self, batches: list[Batch]) -> np.ndarray:
        """What the table alone thinks of M batches, (M,): no experiment is run, nothing is counted or changed."""
        return self._lower_bound(self.predict(batches))

    def predict(self, batches: list[Batch]) -> Estimate:
        """The same with its deviation, and nothing taken off."""
        return self.estimator.predict(self.represent(batches))

    def state(self) -> dict:
        """The fall-backs and counts: numbers, texts and lists only."""
        return {"fallbacks": [[list(batch), value] for batch, value in self.fallbacks], "calls": self.calls,
                "asked": self.asked, "refused": self.refused, "last": self.last}

    def __str__(self) -> str:
        """One sentence for the report."""
        bound = f"; the cap refused {self.refused} batches more" if self.refused else ""
        return f"{len(self.fallbacks)} of at most {self.cap} fall-back experiments, {self.asked} batches asked{bound}."

    def _lower_bound(self, estimate: Estimate) -> np.ndarray:
        return estimate.value - self.risk_aversion * estimate.deviation

    def _may_run(self, far: int) -> bool:
        if len(self.fallbacks) >= self.cap:
            self.refused += far
            return False
        return self.last is None or self.calls - self.last >= self.interval

    def _run(self, batch: Batch, query: Described) -> float:
        value = float(self.run_experiment(batch))
        if not np.isfinite(value):
            raise ValueError(f"expected a finite reward of the fall-back experiment, got {value}")
        self.estimator.add(query, np.array([value]))
        self.fallbacks.append((batch, value))
        self.last = self.calls
        return value

    def _restore(self, state: dict) -> None:
        if len(state["fallbacks"]) > self.cap:
            raise StateError(f"search state: expected at most {self.cap} fall-back experiments, got "
                             f"{len(state['fallbacks'])}; raise table.fallback_cap or search anew")
        self.calls, self.asked, self.refused, self.last = (state[key] for key in ("calls", "asked", "refused", "last"))
        for batch, value in state["fallbacks"]:
            self.fallbacks.append((tuple(batch), value))
            self.estimator.add(self.represent([tuple(batch)]), np.array([value]))
