"""Tests, in the wings of the package; helpers are in `tests.support`."""

import pytest

pytest.register_assert_rewrite("tests.support")
