"""The agent's search of one cycle: batches are drawn, judged and reinforced; the loop yields facts and logs nothing."""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mgral.config import AgentConfig
from mgral.data.dataset import Batch, ImageId
from mgral.errors import StateError
from mgral.files import canonical_json, sha256
from mgral.search.gradient import advantages, entropy, log_prob, loss, sample_batches, standardised
from mgral.search.optimiser import Candidate, Objective, Optimiser
from mgral.search.policy import Policy

MEMORY = 32
"""Best batches kept for the final choice: more than one, since a reward that learns may take back its praise."""
CLIP_NORM = 1.0
"""Largest norm of the gradient."""


@dataclass(frozen=True, slots=True)
class Iteration:
    """What one iteration did. `baseline` is the reference after it, `entropy` that of the first draw in nats."""

    iteration: int
    mean: float
    best: float
    baseline: float
    entropy: float
    gradient_norm: float
    best_so_far: float
    seconds: float


class Agent(Optimiser):
    """An LSTM that reads the pool and scores it, trained by policy gradient (MGRAL, sections III-C to III-E).

    `embedding` (N, d) lies beside the pool that it is asked about, in the same order.
    """

    def __init__(self, embedding: np.ndarray, config: AgentConfig, device: str = "cpu") -> None:
        self.embedding, self.config, self.device = embedding, config, device

    def candidates(self, objective: Objective, pool: Sequence[ImageId], budget: int, queries: int,
                   seed: int) -> list[Candidate]:
        """As for every optimiser; as many iterations as leave queries for the last choice, and at least one."""
        search = self.search(objective, pool, budget, seed)
        iterations = (queries - 1 - MEMORY) // self.config.batches_per_iteration
        for _ in search.until(max(iterations, 1)):
            pass
        return search.candidates()

    def search(self, objective: Objective, pool: Sequence[ImageId], budget: int, seed: int,
               state: dict | None = None) -> AgentSearch:
        """The same search, iteration by iteration."""
        return AgentSearch(pool, self.embedding, budget, objective, self.config, seed, state, self.device)


class AgentSearch:
    """The search of an `Agent`, which may be interrupted.

    `until(n)` runs what is left of n iterations and yields one `Iteration` each; `state()` may be taken after any of
    them, and a search given that state goes on as if never interrupted, bit for bit on the same device; `candidates()`
    ends it. `queries` counts the batches judged. `ids` (N) may come in any order, `embedding` (N, d) beside them; its
    columns are standardised here, and it is read in a random order, so that the place of an image says nothing about
    it. The reward is asked for all batches of an iteration at once and gives one finite value each.

    Raises:
        ValueError: ids and embedding do not match, the budget is not in 1..N, or a reward is not finite.
        StateError: the state belongs to another search.
    """

    def __init__(self, ids: Sequence[ImageId], embedding: np.ndarray, budget: int, reward: Objective,
                 config: AgentConfig, seed: int, state: dict | None = None, device: str = "cpu") -> None:
        if not len(set(ids)) == len(ids) == len(embedding):
            raise ValueError(f"expected distinct ids, one a row of the embedding, got {len(set(ids))} distinct of "
                             f"{len(ids)} ids and {len(embedding)} rows")
        if not 1 <= budget <= len(ids):
            raise ValueError(f"expected a budget of 1 to {len(ids)} images, got {budget}")
        by_id = sorted(range(len(ids)), key=ids.__getitem__)
        features = np.asarray(embedding, dtype=np.float32)[by_id]
        self.budget, self.reward, self.config = budget, reward, config
        self.key = sha256(canonical_json([ids[row] for row in by_id]), hashlib.sha256(features.tobytes()).hexdigest(),
                          str(budget), str(seed), config.model_dump_json())
        self.generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(ids), generator=self.generator)
        self.ids, self.place = np.array([ids[row] for row in by_id], dtype=object), order.numpy()
        self.embedding = _standardised(torch.from_numpy(features))[order].to(device)
        self.policy = Policy(self.generator, features.shape[1],
                             len(ids) if config.decoder == "per_image" else None).to(device)
        self.optimizer = torch.optim.Adam(self.policy.parameters(), lr=config.lr)
        self.iteration, self.queries, self.reference, self.memory = 0, 0, None, []
        if state is not None:
            self._restore(state)

    def until(self, iterations: int) -> Iterator[Iteration]:
        """Runs on until so many iterations are done in all."""
        while self.iteration < iterations:
            yield self._iterate()

    def candidates(self) -> list[Candidate]:
        """The b highest scores (origin `greedy`) and the best batches drawn (`sampled`), best first.

        All are valued once more; equals stay in this order.
        """
        with torch.no_grad():
            scores = self.policy.scores(self.embedding)
        greedy = self._batches(scores.sort(descending=True, stable=True).indices[None, :self.budget])[0]
        batches = [greedy] + [batch for _, batch in self.memory if batch != greedy]
        values = self._judge(batches).numpy()
        return [Candidate(batches[row], float(values[row]), "sampled" if row else "greedy")
                for row in np.argsort(-values, kind="stable")]

    def state(self) -> dict:
        """All that a later search needs to go on: tensors, numbers, texts, lists and dicts only."""
        return copy.deepcopy({
            "key": self.key, "iteration": self.iteration, "queries": self.queries, "reference": self.reference,
            "memory": [[value, list(batch)] for value, batch in self.memory],
            "policy": dict(self.policy.state_dict()), "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state()})

    def _restore(self, state: dict) -> None:
        if state["key"] != self.key:
            raise StateError("search state: expected one of the same pool, embedding, budget, seed and settings, got "
                             "another search's; delete it to search anew")
        state = copy.deepcopy(state)  # the optimizer would go on writing into the caller's tensors
        self.iteration, self.queries, self.reference = (state[key] for key in ("iteration", "queries", "reference"))
        self.memory = [(value, tuple(batch)) for value, batch in state["memory"]]
        self.policy.load_state_dict(state["policy"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])

    def _iterate(self) -> Iteration:
        begun, config = time.perf_counter(), self.config
        with _one_thread():
            scores = self.policy.scores(self.embedding)
        rows = sample_batches(scores, self.budget, config.batches_per_iteration, self.generator)
        batches = self._batches(rows)
        values = self._judge(batches)
        advantage, self.reference = advantages(values, self.reference, config.baseline, config.baseline_decay)
        if config.baseline == "rloo":
            advantage = standardised(advantage)
        with _one_thread():
            norm, spread = self._step(scores, rows.to(scores.device), advantage)
        self.iteration += 1
        self._remember(batches, values)
        return Iteration(self.iteration, float(values.mean()), float(values.max()), self.reference, spread, norm,
                         self.memory[0][0], time.perf_counter() - begun)

    def _step(self, scores: Tensor, rows: Tensor, advantage: Tensor) -> tuple[float, float]:
        """Moves the policy; gives the norm of the gradient and the entropy."""
        A = scores.double()  # sums over the pool lose three digits of the gradient in float32
        spread, weight = entropy(A), self.config.entropy_weight * self.budget**0.5
        objective = loss(log_prob(A, rows), advantage.to(A)) - weight * float(advantage.square().mean().sqrt()) * spread
        self.optimizer.zero_grad()
        objective.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), CLIP_NORM)
        self.optimizer.step()
        return float(norm), float(spread.detach())

    def _judge(self, batches: list[Batch]) -> Tensor:
        values = np.asarray(self.reward(batches), dtype=np.float64)
        if values.shape != (len(batches),) or not np.isfinite(values).all():
            raise ValueError(f"expected {len(batches)} finite rewards, got {values}")
        self.queries += len(batches)
        return torch.from_numpy(values)

    def _remember(self, batches: list[Batch], values: Tensor) -> None:
        by_batch = {batch: value for value, batch in self.memory} | dict(zip(batches, values.tolist(), strict=True))
        self.memory = sorted(((value, batch) for batch, value in by_batch.items()), reverse=True)[:MEMORY]

    def _batches(self, rows: Tensor) -> list[Batch]:
        """Ids, sorted, of batches (M, b) given by places in the reading order."""
        return [tuple(names) for names in self.ids[np.sort(self.place[rows.cpu().numpy()], axis=1)].tolist()]


@contextmanager
def _one_thread() -> Iterator[None]:
    """The recurrence is many small steps, in which a second thread waits longer than it works."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _standardised(features: Tensor) -> Tensor:
    """Columns at mean 0 and deviation 1; a constant column is left at 0."""
    centred = features - features.mean(0)
    deviation = centred.square().mean(0).sqrt()
    return centred / torch.where(deviation > 0, deviation, 1)
