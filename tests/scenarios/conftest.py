"""One PostgreSQL and one Apache Kafka for all scenarios; a world of its own for each."""
import pathlib
import sys
import tempfile

import pytest
from shelfwire import Servers, World

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))  # fires

def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes more than some ten seconds; -m 'not slow' leaves it out")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    report = outcome.get_result()
    world = item.funcargs.get("world") if hasattr(item, "funcargs") else None
    if report.failed and world:
        report.sections.append(("last words of the programs", "".join(p.tail() for p in world.programs)))
        world.failed = True


@pytest.fixture(scope="session")
def servers():
    with tempfile.TemporaryDirectory(prefix="scenarios-") as folder:
        it = Servers(folder)
        yield it
        it.stop()


@pytest.fixture
def world(servers, tmp_path_factory, request):
    folder = pathlib.Path(tmp_path_factory.mktemp("world"))
    it = World(servers, folder)
    yield it
    faults = it.stop()
    if getattr(it, "failed", False):
        print(f"logs are kept in {folder}")
    assert not faults, "\n".join(faults)
