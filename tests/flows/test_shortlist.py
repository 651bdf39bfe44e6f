"""What table and search look at when `table.shortlist` is set."""

import shutil

import pytest

from mgral.inspection import Inspection
from mgral.lookup.images import uncertainty
from mgral.lookup.shortlist import shortlist
from mgral.study.fingerprint import derived_seed
from mgral.study.progress import Progress, current
from tests.conftest import ROOT


class Heard(Progress):
    def __init__(self):
        super().__init__()
        self.lines = []

    def note(self, line):
        self.lines.append(line)


@pytest.fixture(scope="module")
def shortlisted(quick, tmp_path_factory):
    """The first cycle of the quick study with another `table.shortlist`, up to the inspection, which is there."""
    from flows.arguments import job_of
    from tasks.detector import inspect_images, train_detector

    folder = tmp_path_factory.mktemp("shortlisted")
    shutil.copytree(quick.workdir, folder / "work")
    text = (ROOT / "examples/quick.yaml").read_text()

    def of(size):
        params = folder / f"params-{size}.yaml"
        params.write_text(text.replace("table: {", f"table: {{shortlist: {size}, "))
        job = job_of(params, folder / "work", None, "mgral", 1)
        return job, inspect_images(job, train_detector(job, 0))[0]

    return of


def test_table_and_search_see_the_shortlist_and_it_is_made_once(shortlisted):
    from tasks.source import divided, representation, whole

    job, view = shortlisted(30)
    seen, heard = Inspection.load(view), Heard()
    token = current.set(heard)
    pool, known = divided(job, seen)
    assert divided(job, Inspection.load(view)) == (pool, known)
    current.reset(token)
    everything, labelled = whole(job, seen)
    assert (len(everything), len(pool), known) == (96, 30, labelled)
    assert heard.lines == ["[mgral 1/2] 30 of 96 images shortlisted."]
    rows = shortlist(seen.embedding, seen.rows(known), 30, derived_seed(0, "shortlist"), uncertainty(seen))
    assert pool == tuple(seen.ids[row] for row in rows)
    assert len(representation(job, seen, pool, known, 12)._pool) == 30


def test_strategies_of_one_shot_choose_from_the_whole_pool(shortlisted):
    from tasks.search import _by_strategy
    from tasks.source import divided, whole

    job, view = shortlisted(12)
    seen = Inspection.load(view)
    assert set(_by_strategy(job, "random", seen).ids) == set(divided(job, seen)[0])
    assert set(_by_strategy(job, "random", seen, whole).ids) - set(divided(job, seen)[0])


def test_a_shortlist_larger_than_the_pool_is_the_pool(shortlisted):
    from tasks.source import divided, whole

    job, view = shortlisted(1000)
    seen = Inspection.load(view)
    assert divided(job, seen) == whole(job, seen)
