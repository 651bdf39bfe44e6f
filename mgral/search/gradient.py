"""The policy gradient: batches drawn without replacement, their exact probability, the baselines, the loss.

The paper does not say how a batch comes from the scores A. Here π is the Plackett–Luce distribution: images are drawn
one after the other, each with probability softmax(A) over those not yet drawn.
"""

from __future__ import annotations

import torch
from torch import Tensor


def sample_batches(A: Tensor, b: int, M: int, generator: torch.Generator) -> Tensor:
    """Draws M ordered batches of b distinct images; rows (M, b), int64, in drawn order.

    Gumbel noise on the scores A (N,), then the b largest: exactly Plackett–Luce. Drawn on the CPU in float64, so that
    the same generator gives the same batches whatever device computed the scores.

    Raises:
        ValueError: b is not in 1..N.
    """
    if not 1 <= b <= len(A):
        raise ValueError(f"expected a batch of 1 to {len(A)} images, got {b}")
    scores = A.detach().to("cpu", torch.float64)
    waiting = torch.empty(M, len(A), dtype=torch.float64).exponential_(generator=generator)
    return (scores - waiting.log()).topk(b, dim=1).indices


def log_prob(A: Tensor, rows: Tensor) -> Tensor:
    """log π (M,) of the ordered batches `rows` (M, b) under scores A (N,), differentiable in A.

    log π = Σ_j A_{s_j} - log Σ_{i not in s_1..s_{j-1}} exp A_i. The images never drawn stand in every denominator and
    are summed once; the drawn ones join from the last to the first: O(N) a batch.
    """
    drawn = A[rows]
    terms = drawn.flip(1)
    if rows.shape[1] < len(A):
        left = A.expand(len(rows), -1).scatter(1, rows, float("-inf"))
        terms = torch.cat([left.logsumexp(1, keepdim=True), terms], dim=1)
    denominators = terms.logcumsumexp(1)[:, -rows.shape[1]:]
    return drawn.sum(1) - denominators.sum(1)


def entropy(A: Tensor) -> Tensor:
    """Entropy in nats of the first draw, softmax(A): log N at the start, 0 when one image has all the mass.

    The entropy over whole batches has no closed form; this one is exact, costs O(N) and has the same extremes.
    """
    return -(A.softmax(0) * A.log_softmax(0)).sum()


def advantages(mAP: Tensor, mAP_ref: float | None, baseline: str, decay: float) -> tuple[Tensor, float]:
    """The advantages (M,) of M rewards, and the reference for the next iteration.

    With several batches an iteration, their mean takes the place of mAP_i in the reference.

    - `paper`: equation (3) as printed, then (4): mAP_ref ← λ mAP_ref + (1-λ)(mAP_i - mAP_ref), starting from 0, and
      only then mAP_i - mAP_ref. At λ = 0.5 the reference is mAP_i / 2, whatever came before.
    - `ema`: the usual moving average mAP_ref ← λ mAP_ref + (1-λ) mAP_i, subtracted before it sees the current rewards
      (else the gradient is biased); starts at the first iteration's mean.
    - `rloo`: each reward minus the mean of the others (leave-one-out); needs no memory.

    Raises:
        ValueError: unknown baseline, or `rloo` with a single reward.
    """
    mean = float(mAP.mean())
    if baseline == "paper":
        before = mAP_ref or 0.0
        after = decay * before + (1 - decay) * (mean - before)
        return mAP - after, after
    if baseline == "ema":
        before = mean if mAP_ref is None else mAP_ref
        return mAP - before, decay * before + (1 - decay) * mean
    if baseline == "rloo":
        if len(mAP) < 2:
            raise ValueError("expected at least 2 batches an iteration for the baseline rloo, got 1")
        return (mAP - mean) * len(mAP) / (len(mAP) - 1), mean
    raise ValueError(f"expected a baseline paper, ema or rloo, got {baseline!r}")


def standardised(advantage: Tensor) -> Tensor:
    """Advantages (M,) at a root mean square of one, so that a step does not depend on the reward's units."""
    scale = advantage.square().mean().sqrt()
    return advantage / scale if scale > 0 else advantage


def loss(log_pi: Tensor, advantage: Tensor) -> Tensor:
    """-(mAP_i - mAP_ref) log π, equation (4), averaged over the M batches of an iteration.

    Equation (4) alone holds no parameter of the agent; the factor log π makes its gradient the policy gradient.
    """
    return -(advantage.detach() * log_pi).mean()
