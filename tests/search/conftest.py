import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny recurrences are many tiny products: threads only wait for one another, the longer the busier the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
