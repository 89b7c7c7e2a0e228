"""Two processes never train one run."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthrelease.errors import UsageError
from synthrelease.training.exclusive import alone_with


def test_a_second_trainer_is_refused_and_the_folder_is_free_afterwards(tmp_path: Path) -> None:
    with alone_with(tmp_path / "run"), pytest.raises(UsageError, match="another process"), alone_with(tmp_path / "run"):
        pass
    with alone_with(tmp_path / "run"):
        assert (tmp_path / "run").is_dir()
