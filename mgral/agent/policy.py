"""The agent's network, equations (1) and (2), with the recurrence folded into one fused LSTM call."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mgral.inspection import EMBEDDING


class Reader(nn.Module):
    """One pass over the pool: an LSTM that sees its own last score, and the decoder Ψ that makes the score.

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

    def forward(self, embedding: Tensor, rows: Tensor) -> Tensor:
        """Scores (L, S) of S sequences of L images each: `rows` (L, S) are their places in embedding (N, d)."""
        return self._folded(embedding[rows]) if self.shared else self._stepwise(embedding[rows], rows)

    def _folded(self, embedding: Tensor) -> Tensor:
        """The score fed back is A_{i-1} = w·h_{i-1} + β, linear in h_{i-1}. With w_a, the input weights of that score,

            W_in [Φ_i, A_{i-1}] + W_hh h_{i-1}  =  W_in [Φ_i, β] + (W_hh + w_a wᵀ) h_{i-1},

        so every input is known beforehand and the pool is one call of a fused LSTM. The first image reads A_0 = 0, not
        β; its h_0 = 0 makes the folded term vanish. Gradients flow through the fed-back scores.
        """
        lstm, w, beta = self.lstm, self.decoder.weight, self.decoder.bias
        steps, sequences, _ = embedding.shape
        later = (torch.arange(steps, device=embedding.device) > 0).to(embedding.dtype)
        previous = (beta * later)[:, None, None].expand(steps, sequences, 1)
        recurrent = lstm.weight_hh_l0 + lstm.weight_ih_l0[:, -1:] * w
        weights = [lstm.weight_ih_l0, recurrent, lstm.bias_ih_l0, lstm.bias_hh_l0]
        start = embedding.new_zeros(1, sequences, lstm.hidden_size)
        inputs = torch.cat([embedding, previous], dim=2)
        hidden, _, _ = torch.lstm(inputs, (start, start), weights, True, 1, 0.0, self.training, False, False)
        return self.decoder(hidden)[..., 0]

    def _stepwise(self, embedding: Tensor, rows: Tensor) -> Tensor:
        """A decoder that changes from image to image cannot be folded into the recurrence: cell by cell."""
        weights = list(self.lstm.parameters())
        h = c = embedding.new_zeros(rows.shape[1], self.lstm.hidden_size)
        score, scores = embedding.new_zeros(rows.shape[1]), []
        # unbound, not indexed: the backward of an index is as long as the pool, at every step
        for phi, w, beta in zip(embedding.unbind(), self.decoder.weight[rows].unbind(),
                                self.decoder.bias[rows].unbind(), strict=True):
            h, c = torch.lstm_cell(torch.cat([phi, score[:, None]], dim=1), (h, c), *weights)
            score = (w * h).sum(1) + beta
            scores.append(score)
        return torch.stack(scores)


class Policy(nn.Module):
    """Scores A_i of a pool of images, read one after the other by a `Reader`.

    `segments` cuts the pool, in reading order, into so many sequences whose lengths differ by one at most; each is read
    from h_0 = c_0 = 0 and A_0 = 0, all side by side. `bidirectional` adds the scores of a second reader, which reads
    each sequence from its end. `images` gives each of so many images a decoder of its own.
    """

    def __init__(self, generator: torch.Generator, embedding: int = EMBEDDING, segments: int = 1,
                 bidirectional: bool = False, images: int | None = None) -> None:
        super().__init__()
        self.segments = segments
        self.readers = nn.ModuleList(Reader(generator, embedding, images) for _ in range(1 + bidirectional))

    def scores(self, embedding: Tensor) -> Tensor:
        """The scores A (N,) of images given by Φ (N, d), standardised column by column, in reading order."""
        return sum(self._read(reader, embedding, bool(row)) for row, reader in enumerate(self.readers))

    def _read(self, reader: Reader, embedding: Tensor, backwards: bool) -> Tensor:
        count, segments = len(embedding), min(self.segments, len(embedding))
        bounds = torch.arange(segments + 1, device=embedding.device) * count // segments
        lengths = bounds.diff()
        sequence = torch.arange(segments, device=embedding.device).repeat_interleave(lengths)
        image = torch.arange(count, device=embedding.device)
        step = bounds[1:][sequence] - 1 - image if backwards else image - bounds[:-1][sequence]
        # a shorter sequence ends with a step of which nothing is kept
        rows = image.new_zeros(int(lengths.max()), segments).index_put((step, sequence), image)
        return reader(embedding, rows)[step, sequence]
