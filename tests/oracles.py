"""Slow, obvious twins of the fast code."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch


def policy_scores(policy, embedding):
    """Equations (1) and (2) of MGRAL image by image, the LSTM's gates written out."""
    lstm = policy.lstm
    h = c = embedding.new_zeros(lstm.hidden_size)
    score = embedding.new_zeros(1)
    scores = []
    for place in range(len(embedding)):
        gates = (lstm.weight_ih_l0 @ torch.cat([embedding[place], score]) + lstm.bias_ih_l0
                 + lstm.weight_hh_l0 @ h + lstm.bias_hh_l0)
        i, f, g, o = gates.chunk(4)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        own = 0 if policy.shared else place
        score = (policy.decoder.weight[own] @ h + policy.decoder.bias[own])[None]
        scores.append(score)
    return torch.cat(scores)


def plackett_luce(scores, rows):
    """Probability of one ordered batch, draw by draw, from the definition."""
    weights = [math.exp(score) for score in scores]
    left, probability = set(range(len(weights))), 1.0
    for row in rows:
        probability *= weights[row] / sum(weights[remaining] for remaining in left)
        left.remove(row)
    return probability


def ordered_batches(size, budget):
    return list(itertools.permutations(range(size), budget))


def inverse_distance(records, rewards, query, neighbours, distance):
    """MGRAL, section III-F, record by record."""
    distances = [distance(query, record) for record in records]
    nearest = sorted(range(len(records)), key=lambda row: distances[row])[:neighbours]
    hits = [rewards[row] for row in range(len(records)) if distances[row] == 0]
    if hits:
        return sum(hits) / len(hits)
    weights = [1 / distances[row] for row in nearest]
    return sum(w * rewards[row] for w, row in zip(weights, nearest, strict=True)) / sum(weights)


def l2(a, b):
    return math.sqrt(sum((float(x) - float(y)) ** 2 for x, y in zip(a, b, strict=True)))


def cosine(a, b):
    dot = sum(float(x) * float(y) for x, y in zip(a, b, strict=True))
    return 1 - dot / (l2(a, [0] * len(a)) * l2(b, [0] * len(b)))


def threshold(records, distance):
    """Mean minus one standard deviation of the distances between records."""
    distances = [distance(a, b) for a, b in itertools.combinations(records, 2)]
    return np.mean(distances) - np.std(distances)


def ridge(records, rewards, queries, penalty):
    """Ridge regression with an intercept, by the normal equations on standardised columns."""
    mean, scale = records.mean(0), records.std(0)
    design = (records - mean) / np.where(scale > 0, scale, 1)
    gram = design.T @ design + penalty * np.eye(design.shape[1])
    weights = np.linalg.solve(gram, design.T @ (rewards - rewards.mean()))
    return rewards.mean() + (queries - mean) / np.where(scale > 0, scale, 1) @ weights


def ridge_penalty(records, rewards, penalties):
    """The penalty of the least mean squared leave-one-out error, each record predicted by a fit without it; the error.

    Columns are standardised over all records, as in the fast code.
    """
    design = (records - records.mean(0)) / np.where(records.std(0) > 0, records.std(0), 1)

    def error(penalty):
        total = 0.0
        for row in range(len(design)):
            keep = np.arange(len(design)) != row
            x, y = design[keep] - design[keep].mean(0), rewards[keep]
            weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ (y - y.mean()))
            total += (rewards[row] - y.mean() - (design[row] - design[keep].mean(0)) @ weights) ** 2
        return total / len(design)

    best = min(penalties, key=error)
    return best, error(best)
