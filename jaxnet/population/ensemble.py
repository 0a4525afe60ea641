"""Networks of a population as one network, which predicts what they predict together."""

from dataclasses import replace

import jax
import numpy as np

from jaxnet.core.run import Run, check_trained
from jaxnet.errors import InputError, check_kind
from jaxnet.models.combined import voting
from jaxnet.models.model import Model
from jaxnet.population.result import Population


def ensemble(model: Model, networks: Population) -> tuple[Model, Run]:
    """Make one network of several ones: it predicts the mean of their probabilities or values.

    It predicts, and is saved and exported, like any network. Its history is the mean of theirs.

    Args:
        model: the model of the networks, which must all have this one.
        networks: the trained networks; those that diverged are left out.

    Returns:
        (the model of the networks together, their Run).

    Raises:
        InputError: for networks of another model, and where all of them diverged.

    References:
        Hansen & Salamon 1990; Lakshminarayanan et al. 2017, section 2.4.
    """
    check_kind("model", model, Model, "a Model, such as jaxnet.mlp((128, 64))")
    check_kind("networks", networks, Population, "a Population, as fit_population returns it")
    one = networks.run
    check_trained(model, one)
    kept = np.flatnonzero(~networks.diverged)
    if not len(kept):
        raise InputError(
            f"all {len(networks)} networks diverged, so they predict nothing; lower the learning "
            "rate, or set clip"
        )
    params, model_state = jax.tree.map(lambda leaf: np.asarray(leaf[kept]), one.chosen)
    several = one.schema.targets is not None
    kind = "labels" if one.schema.multi_label else "values" if several else "classes"
    together = voting(model, len(kept), kind)
    history = jax.tree.map(
        lambda column: np.asarray(column)[kept].mean(0), one.history._replace(signals=None)
    )
    first = networks[int(kept[0])]
    epochs = np.asarray(one.epochs)[kept].max()
    run = replace(
        first,
        params=params,
        model_state=model_state,
        best=None,
        history=history,
        epochs=epochs,
        model=together.name,
        layers=(),
    )
    return together, run


def as_one(model: Model, networks: Population) -> tuple[Model, Run]:
    """A single network as it is, and several ones as `ensemble` makes one of them.

    Args:
        model: the model of the networks.
        networks: the trained networks.

    Returns:
        (a model, its Run): those of the first network where all diverged.
    """
    if len(networks) == 1 or networks.diverged.all():
        return model, networks[0]
    return ensemble(model, networks)


def named_as(model: Model, networks: Population) -> Population:
    """The same networks as those of a model with the same parameters and another name.

    Args:
        model: the model.
        networks: the networks.
    """
    runs = tuple(replace(run, model=model.name) for run in networks.runs)
    return replace(networks, runs=runs)
