"""Which examples the networks of a diagnosis share out."""

import jax
import numpy as np
import pytest

import jaxnet
from jaxnet.studies.design import FOLD, design_of


@pytest.mark.parametrize("groups", [None, np.arange(200) // 4])
def test_folds_depend_on_the_pool_and_their_number_alone(groups):
    """Runs with other seeds, recipes and numbers of networks leave out the same examples."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 2)), rng.integers(0, 2, 200)
    left_out = []
    for seed, members, epochs in ((0, 16, 1), (1, 24, 2)):
        splits = jaxnet.split(x, y, groups=groups)
        design = design_of(splits, jaxnet.Recipe(epochs=epochs), members)
        needs = design.needs(members)
        samples = design.samples(needs, jax.random.key(seed))
        networks = np.flatnonzero(needs.kinds == FOLD)
        left_out.append({samples.seen(int(i)).tobytes() for i in networks})
        assert len(networks) == members
    assert len(left_out[0]) == 8
    assert left_out[0] == left_out[1]
