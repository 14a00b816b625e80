import pytest


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from tests.support.chromium import chromium

    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver
