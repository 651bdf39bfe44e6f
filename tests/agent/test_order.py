import pytest
import torch

from mgral.agent.order import reading_order


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_order_of_ids():
    assert reading_order(torch.zeros(4, 2), "id", seeded()).tolist() == [0, 1, 2, 3]


def test_a_shuffled_order_holds_every_row_and_follows_the_generator():
    one, two = (reading_order(torch.zeros(50, 2), "shuffled", seeded(5)).tolist() for _ in range(2))
    assert one == two != sorted(one) == list(range(50))


def test_similarity_walks_to_the_nearest_unread_image():
    line = torch.tensor([[0.0], [9.0], [1.0], [4.0], [2.5], [-7.0]])  # mean 1.58: begins at 1.0
    assert reading_order(line, "similarity", seeded()).tolist() == [2, 0, 4, 3, 1, 5]


def test_an_unknown_order_is_refused():
    with pytest.raises(ValueError, match="expected an order id, shuffled or similarity, got 'name'"):
        reading_order(torch.zeros(4, 2), "name", seeded())
