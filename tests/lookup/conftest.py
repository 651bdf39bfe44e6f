from tests.agent.conftest import one_thread  # noqa: F401
