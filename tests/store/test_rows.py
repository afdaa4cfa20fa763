import numpy as np
import pytest

from oclear.store.rows import unit_vectors


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("length", [1e-30, 1e-12, 1.0, 1e12, 1e30])
def test_vectors_of_any_length_come_to_length_1(length):
    vectors = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    wide = vectors.astype(np.float64)
    wanted = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    found = unit_vectors(vectors * np.float32(length), 8)
    assert found.dtype == np.float32
    assert found == pytest.approx(wanted, abs=1e-6)


def test_one_that_is_zero_among_others_is_refused():
    with pytest.raises(ValueError, match="zero or not finite"):
        unit_vectors(np.eye(3, 4, dtype=np.float32) * [[1], [0], [1]], 4)
