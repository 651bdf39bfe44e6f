"""The search of one cycle: batches are drawn, judged and reinforced; the loop yields facts and logs nothing."""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mgral.agent.exchange import swap_search
from mgral.agent.gradient import advantages, entropy, log_prob, loss, sample_batches, standardised
from mgral.agent.order import reading_order
from mgral.agent.policy import Policy
from mgral.config import SearchConfig
from mgral.data.dataset import ImageId
from mgral.errors import StateError
from mgral.files import canonical_json, sha256

Batch = tuple[ImageId, ...]
Reward = Callable[[list[Batch]], np.ndarray]

MEMORY = 32
"""Best batches kept for the final choice: more than one, since a reward that learns may take back its praise."""
TOLERANCE = 0.1
"""A mean that is higher by less has not risen; in deviations among the batches of the first iteration."""
SIDE_BY_SIDE = 8
"""Sequences from which on a second thread gains more than it waits: with fewer, each step of the reading is small."""
LATER = {"iterations", "patience", "checkpoint_every", "trust", "controls", "final_caution", "polish", "check"}
"""Settings that an interrupted search may go on without: no iteration depends on them."""


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


@dataclass(frozen=True, slots=True)
class Choice:
    """The batch a search ends with, ids sorted, its value by the reward function, and where it came from."""

    ids: Batch
    value: float
    origin: str
    """`greedy` (the b highest scores), `sampled` (of the batches drawn during the search the one of highest reward),
    `bound` (another of them, which only the judge of the last choice puts first) or `polished` (by exchanges)."""


class Search:
    """Policy-gradient search for the batch of highest reward (MGRAL, sections III-C to III-E).

    Iterating runs what is left of `config.iterations` and yields one `Iteration` each, fewer where `config.patience` is
    exhausted; `state()` may be taken after any of them, and a search given that state goes on as if never interrupted,
    bit for bit on the same device; `choose()` gives the batch. `queries` counts the batches judged. `ids` (N) may come
    in any order, `embedding` (N, d) beside them; its columns are standardised here. The reward is asked for all batches
    of an iteration at once and gives one finite value each.

    Raises:
        ValueError: ids and embedding do not match, the budget is not in 1..N, or a reward is not finite.
        StateError: the state belongs to another search.
    """

    def __init__(self, ids: Sequence[ImageId], embedding: np.ndarray, budget: int, reward: Reward, config: SearchConfig,
                 seed: int, state: dict | None = None, device: str = "cpu") -> None:
        if not len(set(ids)) == len(ids) == len(embedding):
            raise ValueError(f"expected distinct ids, one a row of the embedding, got {len(set(ids))} distinct of "
                             f"{len(ids)} ids and {len(embedding)} rows")
        if not 1 <= budget <= len(ids):
            raise ValueError(f"expected a budget of 1 to {len(ids)} images, got {budget}")
        by_id = sorted(range(len(ids)), key=ids.__getitem__)
        features = np.asarray(embedding, dtype=np.float32)[by_id]
        self.budget, self.reward, self.config = budget, reward, config
        settings = config.model_dump_json(exclude=LATER)
        self.key = sha256(canonical_json([ids[row] for row in by_id]), hashlib.sha256(features.tobytes()).hexdigest(),
                          str(budget), str(seed), settings)
        self.generator = torch.Generator().manual_seed(seed)
        standard = _standardised(torch.from_numpy(features))
        order = reading_order(standard, config.pool_order, self.generator)
        self.ids, self.place = np.array([ids[row] for row in by_id], dtype=object), order.numpy()
        self.embedding = standard[order].to(device)
        self.policy = Policy(self.generator, features.shape[1], config.segments, config.bidirectional,
                             len(ids) if config.decoder == "per_image" else None).to(device)
        self.optimizer = torch.optim.Adam(self.policy.parameters(), lr=config.lr)
        self.iteration, self.queries, self.reference, self.memory = 0, 0, None, []
        self.seed, self.unit, self.risen, self.highest = seed, 0.0, 0, -np.inf
        """Deviation among the first batches; the last iteration in which the mean rose, and how high."""
        if state is not None:
            self._restore(state)

    def __iter__(self) -> Iterator[Iteration]:
        while self.iteration < self.config.iterations and not self.exhausted:
            yield self._iterate()

    @property
    def exhausted(self) -> bool:
        """Whether the mean has not risen by more than `TOLERANCE` for `config.patience` iterations."""
        return self.config.patience is not None and self.iteration - self.risen >= self.config.patience

    def choose(self, judge: Reward | None = None) -> Choice:
        """The best of the b highest scores and the best batches drawn, and what exchanges make of it (`config.polish`).

        All are valued once more, by the reward and, where there is one, by a `judge` that has the last word.
        """
        with torch.no_grad():
            scores = self.policy.scores(self.embedding)
        greedy = self._batches(scores.sort(descending=True, stable=True).indices[None, :self.budget])[0]
        batches = [greedy] + [batch for _, batch in self.memory if batch != greedy]
        values = self._judge(batches, self.reward)
        best, drawn = int(values.argmax()), int(values[1:].argmax()) + 1 if len(batches) > 1 else 0
        if judge is not None:
            values = self._judge(batches, judge)
            best = int(values.argmax())
        origin = "greedy" if best == 0 else "sampled" if best == drawn else "bound"
        return self._polished(Choice(batches[best], float(values[best]), origin), judge or self.reward)

    def state(self) -> dict:
        """All that a later `Search` needs to go on: tensors, numbers, texts, lists and dicts only."""
        return copy.deepcopy({
            "key": self.key, "iteration": self.iteration, "queries": self.queries, "reference": self.reference,
            "rise": [self.unit, self.risen, self.highest],
            "memory": [[value, list(batch)] for value, batch in self.memory],
            "policy": dict(self.policy.state_dict()), "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state()})

    def _restore(self, state: dict) -> None:
        if state["key"] != self.key:
            raise StateError("search state: expected one of the same pool, embedding, budget, seed and settings, got "
                             "another search's; delete it to search anew")
        state = copy.deepcopy(state)  # the optimizer would go on writing into the caller's tensors
        self.iteration, self.queries, self.reference = (state[key] for key in ("iteration", "queries", "reference"))
        self.unit, self.risen, self.highest = state["rise"]
        self.memory = [(value, tuple(batch)) for value, batch in state["memory"]]
        self.policy.load_state_dict(state["policy"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])

    def _iterate(self) -> Iteration:
        begun, config = time.perf_counter(), self.config
        threads = 1 if config.segments < SIDE_BY_SIDE else None
        with _threads(threads):
            scores = self.policy.scores(self.embedding)
        rows = sample_batches(scores, self.budget, config.batches_per_iteration, self.generator)
        batches = self._batches(rows)
        values = self._judge(batches, self.reward)
        advantage, self.reference = advantages(values, self.reference, config.baseline, config.baseline_decay)
        if config.baseline == "rloo":
            advantage = standardised(advantage)
        with _threads(threads):
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
        norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.config.clip_norm)
        self.optimizer.step()
        return float(norm), float(spread.detach())

    def _polished(self, choice: Choice, judge: Reward) -> Choice:
        if not self.config.polish:
            return choice
        batch, value = swap_search(lambda batches: self._judge(batches, judge).numpy(), self.ids.tolist(), choice.ids,
                                   self.config.polish, np.random.default_rng(self.seed))
        return Choice(batch, value, "polished") if value > choice.value else choice

    def _judge(self, batches: list[Batch], judge: Reward) -> Tensor:
        values = np.asarray(judge(batches), dtype=np.float64)
        if values.shape != (len(batches),) or not np.isfinite(values).all():
            raise ValueError(f"expected {len(batches)} finite rewards, got {values}")
        self.queries += len(batches)
        return torch.from_numpy(values)

    def _remember(self, batches: list[Batch], values: Tensor) -> None:
        kept = {batch: value for value, batch in self.memory} | dict(zip(batches, values.tolist(), strict=True))
        self.memory = sorted(((value, batch) for batch, value in kept.items()), reverse=True)[:MEMORY]
        mean = float(values.mean())
        if self.iteration == 1:
            self.unit = float(values.std(correction=0))
        if mean > self.highest + TOLERANCE * self.unit:
            self.risen, self.highest = self.iteration, mean

    def _batches(self, rows: Tensor) -> list[Batch]:
        """Ids, sorted, of batches (M, b) given by places in the reading order."""
        return [tuple(one) for one in self.ids[np.sort(self.place[rows.cpu().numpy()], axis=1)].tolist()]


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """So many threads of torch for a while; None leaves them as they are."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _standardised(features: Tensor) -> Tensor:
    """Columns at mean 0 and deviation 1; a constant column is left at 0."""
    centred = features - features.mean(0)
    deviation = centred.square().mean(0).sqrt()
    return centred / torch.where(deviation > 0, deviation, 1)
