"""The agent's network, equations (1) and (2), with the recurrence folded into one fused LSTM call."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mgral.inspection import EMBEDDING


class Policy(nn.Module):
    """Scores A_i of a pool of images, read one after the other by an LSTM that sees its own last score.

    h_i, c_i = LSTM([Φ(I_i), A_{i-1}], h_{i-1}, c_{i-1}), A_i = Ψ(h_i), A_0 = 0 (MGRAL, equations (1) and (2)). The
    decoder Ψ(h) = w·h + β is linear and shared by all images. With the last score, the LSTM reads 257 values; it holds
    as many.
    """

    def __init__(self, generator: torch.Generator, embedding: int = EMBEDDING) -> None:
        super().__init__()
        hidden = embedding + 1
        self.lstm = nn.LSTM(hidden, hidden, device="meta")
        self.decoder = nn.Linear(hidden, 1, device="meta")
        self.to_empty(device="cpu")  # born without values, so that only `generator` is drawn from
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -hidden**-0.5, hidden**-0.5, generator=generator)

    def scores(self, embedding: Tensor) -> Tensor:
        """The scores A (N,) of images given by Φ (N, d), standardised column by column, in reading order.

        The score fed back is A_{i-1} = w·h_{i-1} + β, linear in h_{i-1}. With w_a, the input weights of that score,

            W_in [Φ_i, A_{i-1}] + W_hh h_{i-1}  =  W_in [Φ_i, β] + (W_hh + w_a wᵀ) h_{i-1},

        so every input is known beforehand and the pool is one call of a fused LSTM. The first image reads A_0 = 0, not
        β; its h_0 = 0 makes the folded term vanish. Gradients flow through the fed-back scores.
        """
        lstm, w, beta = self.lstm, self.decoder.weight, self.decoder.bias
        previous = beta.expand(len(embedding), 1) * _after_first(embedding)
        recurrent = lstm.weight_hh_l0 + lstm.weight_ih_l0[:, -1:] * w
        weights = [lstm.weight_ih_l0, recurrent, lstm.bias_ih_l0, lstm.bias_hh_l0]
        start = embedding.new_zeros(1, 1, lstm.hidden_size)
        inputs = torch.cat([embedding, previous], dim=1)[:, None]
        hidden, _, _ = torch.lstm(inputs, (start, start), weights, True, 1, 0.0, self.training, False, False)
        return self.decoder(hidden[:, 0])[:, 0]


def _after_first(embedding: Tensor) -> Tensor:
    """(N, 1): zero for the first image, one for all that have a predecessor."""
    return (torch.arange(len(embedding), device=embedding.device) > 0).to(embedding.dtype)[:, None]
