"""What most tests of retention begin with."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.housing import House
from tests.retention.keeping import Keeping


@pytest.fixture
def keeping(house: House, tmp_path: Path) -> Iterator[Keeping]:
    with Keeping.over(house, tmp_path) as made:
        yield made
