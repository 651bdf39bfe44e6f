"""The agent's network, equations (1) and (2), with the recurrence folded into one fused LSTM call."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Policy(nn.Module):
    """Scores a pool in one pass: an LSTM that sees its own last score, and the decoder Ψ that makes the score.

    h_i, c_i = LSTM([Φ(I_i), A_{i-1}], h_{i-1}, c_{i-1}), A_i = Ψ(h_i), A_0 = 0 (MGRAL, equations (1) and (2)). With the
    last score, the LSTM reads d + 1 values; it holds as many. Ψ(h) = w·h + β is linear, shared by all images, or one
    w_i, β_i for each of `images` images in reading order: the paper's Ψ_i to the letter.
    """

    def __init__(self, generator: torch.Generator, embedding: int, images: int | None = None) -> None:
        super().__init__()
        hidden = embedding + 1
        self.shared = images is None
        self.lstm = nn.LSTM(hidden, hidden, device="meta")
        self.decoder = nn.Linear(hidden, images or 1, device="meta")
        self.to_empty(device="cpu")  # born without values, so that only `generator` is drawn from
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -hidden**-0.5, hidden**-0.5, generator=generator)

    def scores(self, embedding: Tensor) -> Tensor:
        """The scores A (N,) of images given by Φ (N, d), standardised column by column, in reading order."""
        return self._folded(embedding) if self.shared else self._stepwise(embedding)

    def _folded(self, embedding: Tensor) -> Tensor:
        """The score fed back is A_{i-1} = w·h_{i-1} + β, linear in h_{i-1}. With w_a, the input weights of that score,

            W_in [Φ_i, A_{i-1}] + W_hh h_{i-1}  =  W_in [Φ_i, β] + (W_hh + w_a wᵀ) h_{i-1},

        so every input is known beforehand and the pool is one call of a fused LSTM. The first image reads A_0 = 0, not
        β; its h_0 = 0 makes the folded term vanish. Gradients flow through the fed-back scores.
        """
        lstm, w, beta = self.lstm, self.decoder.weight, self.decoder.bias
        later = (torch.arange(len(embedding), device=embedding.device) > 0).to(embedding.dtype)
        previous = (beta * later)[:, None, None]
        recurrent = lstm.weight_hh_l0 + lstm.weight_ih_l0[:, -1:] * w
        weights = [lstm.weight_ih_l0, recurrent, lstm.bias_ih_l0, lstm.bias_hh_l0]
        start = embedding.new_zeros(1, 1, lstm.hidden_size)
        inputs = torch.cat([embedding[:, None], previous], dim=2)
        hidden, _, _ = torch.lstm(inputs, (start, start), weights, True, 1, 0.0, self.training, False, False)
        return self.decoder(hidden)[:, 0, 0]

    def _stepwise(self, embedding: Tensor) -> Tensor:
        """A decoder that changes from image to image cannot be folded into the recurrence: cell by cell."""
        weights = list(self.lstm.parameters())
        h = c = embedding.new_zeros(1, self.lstm.hidden_size)
        score, scores = embedding.new_zeros(1), []
        # unbound, not indexed: the backward of an index is as long as the pool, at every step
        for phi, w, beta in zip(embedding.unbind(), self.decoder.weight.unbind(), self.decoder.bias.unbind(),
                                strict=True):
            h, c = torch.lstm_cell(torch.cat([phi[None], score[:, None]], dim=1), (h, c), *weights)
            score = (w * h).sum(1) + beta
            scores.append(score)
        return torch.cat(scores)
