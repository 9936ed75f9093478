from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def here() -> Path:
    """The folder that the servers of these tests find their applications in."""
    return HERE
