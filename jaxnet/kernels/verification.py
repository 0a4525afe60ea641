"""Compare one epoch by the kernel and by XLA on the device at hand: the numbers, and the time."""

import time
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from jaxnet.core import training
from jaxnet.core.recipe import Recipe, as_float32, resolved
from jaxnet.core.training import Problem, RunSteps, epoch, start
from jaxnet.data import Splits
from jaxnet.data.dataset import on_device
from jaxnet.models.model import Model, with_outputs

ROUNDS = 3  # epochs that are timed


@dataclass(frozen=True)
class Verification:
    """What one epoch by the kernel and by XLA gave.

    Attributes:
        device: kind of device.
        members: number of members; 0 for one network.
        difference: largest difference between the two results' parameters.
        moved: largest change of a parameter in the epoch, to compare `difference` with.
        losses: mean training loss, by the kernel and by XLA.
        seconds: seconds of an epoch, by the kernel and by XLA: the fastest of three, compilation
            excluded.
        interpreted: whether the kernel was only interpreted, so that its seconds say nothing.
    """

    device: str
    members: int
    difference: float
    moved: float
    losses: tuple[float, float]
    seconds: tuple[float, float]
    interpreted: bool

    def __str__(self) -> str:
        kernel, xla = self.seconds
        who = f"{self.members} members" if self.members else "one network"
        times = (
            f"kernel {kernel * 1e3:.3g} ms per epoch{' (interpreted)' * self.interpreted}, XLA "
            f"{xla * 1e3:.3g} ms"
        )
        return (
            f"{self.device}, {who}: parameters differ by at most {self.difference:.1e} after "
            f"moving {self.moved:.1e}; "
            f"training loss {self.losses[0]:.6f} and {self.losses[1]:.6f}; {times}"
        )


def verify(
    model: Model,
    splits: Splits,
    recipe: Recipe,
    key: Key[Array, ""] | None = None,
    *,
    members: int = 0,
) -> Verification:
    """Train one epoch by the kernel and by XLA, and compare them.

    Args:
        model: the model.
        splits: the data.
        recipe: the recipe.
        key: JAX random key; `jax.random.key(0)` by default.
        members: number of members, which share one order of the examples; 0 for one network.

    Returns:
        The comparison.

    Raises:
        NotImplementedError: for what the kernel cannot train.
        Exception: whatever the compiler raises.
    """
    from jaxnet.kernels import resident_steps  # which imports Pallas

    key = jax.random.key(0) if key is None else key
    recipe = as_float32(resolved(recipe, len(splits.train)))
    problem = Problem(with_outputs(model, splits.train.outputs), on_device(splits), recipe)
    device = jax.local_devices()[0]
    keys = jax.random.split(key, members) if members else key

    def begin(key_: Any) -> Any:
        return start(problem, key_, order_key=key)

    state = jax.jit(jax.vmap(begin) if members else begin)(keys)
    if members:  # all members have one order, so that they share minibatches
        state = state._replace(order_key=state.order_key[0], epoch=jnp.int32(0))
    axes = (
        jax.tree.map(lambda _: 0, state)._replace(order_key=None, epoch=None) if members else None
    )

    def of(steps: RunSteps) -> tuple[Any, float, float]:
        def one(state: Any) -> tuple[Any, Array]:
            new, metrics = epoch(problem, state, steps)
            return new.params, metrics.train_loss

        run = jax.jit(jax.vmap(one, (axes,)) if members else one)
        params, loss = jax.block_until_ready(run(state))
        seconds = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            jax.block_until_ready(run(state))
            seconds.append(time.perf_counter() - began)
        return params, float(np.mean(loss)), min(seconds)

    kernel, xla = of(resident_steps.run_steps), of(training.run_steps)
    return Verification(
        device=device.device_kind,
        members=members,
        difference=_largest_difference(kernel[0], xla[0]),
        moved=_largest_difference(xla[0], state.params),
        losses=(kernel[1], xla[1]),
        seconds=(kernel[2], xla[2]),
        interpreted=device.platform != "tpu",
    )


def _largest_difference(a: Any, b: Any) -> float:
    return max(
        float(jnp.abs(x - y).max())
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )
