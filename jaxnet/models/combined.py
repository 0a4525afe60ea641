"""Models made of other models: networks that vote, and a network that does not see some inputs."""

import ast
import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from jaxnet.errors import InputError, check_kind, check_known, check_whole, shown
from jaxnet.models import builtin
from jaxnet.models.model import Model
from jaxnet.typing import Number

Outputs = Literal["classes", "values", "labels"]
NETWORK, INPUTS = "network", "inputs"  # parts of the model state of `without_inputs`
VOTING = re.compile(r"voting\((.*), networks=(\d+)(?:, outputs=(\w+))?\)")
WITHOUT = re.compile(r"without_inputs\((.*), inputs=(\(.*\))\)")


def voting(model: Model, networks: int, outputs: Outputs | str = "classes") -> Model:
    """Build the model of several networks that predict together, by the mean of their
    probabilities or values.

    Its parameters are those of the networks, with a leading axis of networks. It predicts, and is
    not trained: the networks are trained each by itself, as by `fit_population`.

    Args:
        model: the model of each network.
        networks: number of networks.
        outputs: what they predict for an example: "classes", which are the logits of one of several
            classes, or one value; several "values"; or the logits of several yes/no "labels".

    Returns:
        The model.

    References:
        Hansen & Salamon 1990; Lakshminarayanan et al. 2017, section 2.4.
    """
    check_kind("model", model, Model, "a Model, such as jaxnet.mlp((128, 64))")
    check_whole("networks", networks)
    check_known("outputs", outputs, get_args(Outputs))
    more = {} if outputs == "classes" else {"outputs": outputs}
    return _combined(_VotingInit, VOTES[outputs], "voting", model, networks=networks, **more)


def without_inputs(model: Model, inputs: Sequence[int]) -> Model:
    """Build a model that takes all inputs and does not use some of them: they are 0, their mean
    over the training set.

    The model state holds which ones they are. It is saved, restored and exported with the network,
    and networks without different inputs are trained by one compiled program.

    Args:
        model: the network, for inputs of shape (features,).
        inputs: numbers of the inputs that are not used, from 0.

    Returns:
        The model.

    Raises:
        InputError: for numbers that are not whole, or negative. A number that is too large is
            refused when the parameters are made.
    """
    check_kind("model", model, Model, "a Model, such as jaxnet.mlp((128, 64))")
    check_kind("inputs", inputs, list | tuple | np.ndarray, "numbers of inputs, such as (3, 7)")
    for number, each in enumerate(inputs):
        check_whole(f"inputs[{number}]", each, 0)
    numbers = {int(each) for each in inputs}
    if isinstance(model.init, _WithoutInit):  # which leaves out some already
        model, numbers = model.init.model, numbers | set(model.init.inputs)
    left_out = tuple(sorted(numbers))
    return _combined(_WithoutInit, _WithoutApply, "without_inputs", model, inputs=left_out)


def network_of(model: Model) -> Model:
    """The network of a model that `without_inputs` made; other models are their own network."""
    return model.init.model if isinstance(model.init, _WithoutInit) else model


def with_network(model: Model, change: Callable[[Model], Model | None]) -> Model | None:
    """Change the network of a model; of one that `without_inputs` made, it takes the same inputs.

    Args:
        model: the model.
        change: a function that changes a network, such as `narrowed`, or returns None.

    Returns:
        The changed model, or None.
    """
    network = change(network_of(model))
    if network is None or not isinstance(model.init, _WithoutInit):
        return network
    return without_inputs(network, model.init.inputs)


def named(name: str) -> Model:
    """Build the model of this name: a built-in one, or one that is made of built-in ones.

    Args:
        name: the name, such as "mlp(hidden=(64,), activation=relu)".

    Returns:
        The model.

    Raises:
        InputError: where no such model has this name.
    """
    if found := VOTING.fullmatch(name):
        return voting(named(found[1]), int(found[2]), found[3] or "classes")
    if found := WITHOUT.fullmatch(name):
        return without_inputs(named(found[1]), ast.literal_eval(found[2]))
    return builtin.named(name)


@functools.cache
def _combined(init: Any, apply: Any, kind: str, model: Model, **values: Any) -> Model:
    """Build a model around another one; its number of outputs is as open as that one's."""
    words = ", ".join(f"{word}={value}" for word, value in values.items())
    complete = _ForOutputs(init, apply, kind, model, tuple(values.items()))
    return Model(
        init(model, **values),
        apply(model),
        f"{kind}({model.name}, {words})",
        None if model.for_outputs is None else complete,
        model.vocabulary,
    )


@dataclass(frozen=True)
class _ForOutputs:
    """The function that fixes the number of outputs of the model within."""

    init: Callable[..., Any]
    apply: Callable[..., Any]
    kind: str
    model: Model
    values: tuple[tuple[str, Any], ...]

    def __call__(self, outputs: int) -> Model:
        assert self.model.for_outputs is not None
        within = self.model.for_outputs(outputs)
        return _combined(self.init, self.apply, self.kind, within, **dict(self.values))


@dataclass(frozen=True)
class _VotingInit:
    model: Model
    networks: int
    outputs: str = "classes"

    def __call__(self, key: Array, x: Array, /) -> tuple[PyTree, PyTree]:
        keys = jax.random.split(key, self.networks)
        return jax.vmap(self.model.init, (0, None))(keys, jnp.zeros(x.shape, x.dtype))


@dataclass(frozen=True)
class _VotingApply:
    model: Model

    def __call__(
        self,
        params: PyTree,
        model_state: PyTree,
        x: Array,
        /,
        *,
        key: Array | None = None,
        dropout: Number | None = None,
    ) -> tuple[Float[Array, "batch outputs"], PyTree]:
        if key is not None:
            raise InputError(
                "networks that vote are trained each by itself, and not as one; train "
                f"{self.model.name} with fit_population, and give jaxnet.ensemble what it returns"
            )

        def one(params: PyTree, model_state: PyTree) -> Array:
            return self.model.apply(params, model_state, x, key=None, dropout=None)[0]

        outputs = jax.vmap(one)(params, model_state)
        return self.together(outputs), model_state

    def together(self, outputs: Float[Array, "networks batch outputs"]) -> Array:
        """What the networks predict together, (batch, outputs)."""
        if outputs.shape[-1] == 1:
            return outputs.mean(0)
        return _log_mean(jax.nn.log_softmax(outputs.astype(jnp.float32)))


class _ValuesVotingApply(_VotingApply):
    def together(self, outputs: Float[Array, "networks batch outputs"]) -> Array:
        return outputs.mean(0)


class _LabelsVotingApply(_VotingApply):
    def together(self, outputs: Float[Array, "networks batch outputs"]) -> Array:
        outputs = outputs.astype(jnp.float32)
        return _log_mean(jax.nn.log_sigmoid(outputs)) - _log_mean(jax.nn.log_sigmoid(-outputs))


VOTES: dict[str, type[_VotingApply]] = {
    "classes": _VotingApply,
    "values": _ValuesVotingApply,
    "labels": _LabelsVotingApply,
}


def _log_mean(log_p: Float[Array, "networks ..."]) -> Float[Array, "..."]:
    """The logarithm of the mean probability over networks."""
    return jax.nn.logsumexp(log_p, axis=0) - jnp.log(len(log_p))


@dataclass(frozen=True)
class _WithoutInit:
    model: Model
    inputs: tuple[int, ...]

    def __call__(self, key: Array, x: Array, /) -> tuple[PyTree, PyTree]:
        params, model_state = self.model.init(key, x)
        if len(x.shape) != 2:
            raise InputError(
                f"inputs have shape {shown(x.shape[1:])}; only inputs of shape (features,) can be "
                "left out by their numbers"
            )
        if self.inputs and self.inputs[-1] >= x.shape[1]:
            raise InputError(
                f"inputs has {self.inputs[-1]}, but there are {x.shape[1]} inputs; give numbers "
                f"from 0 to {x.shape[1] - 1}"
            )
        used = np.ones(x.shape[1], np.float32)
        used[list(self.inputs)] = 0
        return params, {NETWORK: model_state, INPUTS: jnp.asarray(used)}


@dataclass(frozen=True)
class _WithoutApply:
    model: Model

    def __call__(
        self,
        params: PyTree,
        model_state: PyTree,
        x: Array,
        /,
        *,
        key: Array | None = None,
        dropout: Number | None = None,
    ) -> tuple[Float[Array, "batch outputs"], PyTree]:
        # a weight that is 0 times an input that is not finite would not be 0
        seen = jnp.where(model_state[INPUTS] > 0, x, 0).astype(x.dtype)
        outputs, new = self.model.apply(
            params, model_state[NETWORK], seen, key=key, dropout=dropout
        )
        return outputs, {**model_state, NETWORK: new}
