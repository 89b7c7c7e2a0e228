"""Archives to try the clients with, each written once."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# The clients are not part of the installed package: they are found from the repository's root.
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2]))

from archive_forms import FORMS, Archive, Form, written
from client_needs import need

from clients.orthanc import Orthanc, missing, orthanc


@pytest.fixture(scope="session")
def archive_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Form], Archive]:
    """Writes an archive of a form when it is first asked for."""
    return functools.cache(lambda form: written(tmp_path_factory.mktemp("written") / "archive", form))


@pytest.fixture(scope="module", params=FORMS, ids=lambda form: form.name)
def archive(request: pytest.FixtureRequest, archive_of: Callable[[Form], Archive]) -> Archive:
    """An archive of each form in turn."""
    return archive_of(request.param)


@pytest.fixture(scope="module")
def server() -> Iterator[Orthanc]:
    """A running Orthanc, empty at first."""
    need(missing())
    with orthanc() as running:
        yield running
