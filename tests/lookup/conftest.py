from tests.search.conftest import one_thread  # noqa: F401
