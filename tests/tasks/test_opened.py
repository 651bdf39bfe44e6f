"""What a job is called, and where its files lie."""

from pathlib import Path

import pytest

from mgral.config import Config
from tasks.job import Job


@pytest.mark.parametrize(("seeds", "names"), [
    ((3,), ("entropy cycle 2", "[entropy 2/3]", "[entropy end]")),
    ((1, 3), ("entropy seed 3 cycle 2", "[entropy seed 3 2/3]", "[entropy seed 3 end]"))])
def test_a_job_names_its_seed_where_there_are_several(seeds, names):
    config = Config.model_validate({"study": {"strategies": ("own/entropy.py",), "seeds": seeds, "name": "s"}})
    job = Job(config, Path("work"), None, "own/entropy.py", 2, 3)
    assert (job.name, job.title, job.title_after(3)) == names
    assert job.workspace.cycle(job.strategy, job.cycle) == Path("work/runs/s/seed-3/entropy/2")
    assert job.workspace.cycle(job.strategy, 0) == Path("work/runs/s/seed-3/prepared")
    assert job.workspace.report == Path("work/runs/s/report")
