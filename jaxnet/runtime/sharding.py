"""One pure function of a member, over many members: spread over devices, and mapped over those of
each.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, PartitionSpec
from jaxtyping import PyTree

# of arrays with a leading axis of members, and of what all share
SPLIT, COPIED = (PartitionSpec("member"), PartitionSpec())


def spread(one: Callable[..., Any], mesh: Mesh, shared: PyTree, own: PyTree) -> Any:
    """`one(shared, own)` for each member: `own` has a leading axis of them, but for scalars, which
    all share.

    Nothing goes from device to device. A single member of a device runs the very program that it
    would run alone.
    """

    def on_each_device(shared: PyTree, own: PyTree) -> Any:
        leaves, structure = jax.tree.flatten(own)
        if max(leaf.shape[0] for leaf in leaves if leaf.ndim) == 1:
            alone = jax.tree.map(lambda leaf: leaf[0] if leaf.ndim else leaf, own)
            return jax.tree.map(lambda leaf: leaf[None], one(shared, alone))

        def of_leaves(shared: PyTree, *leaves: Any) -> Any:
            return one(shared, structure.unflatten(leaves))

        return jax.vmap(of_leaves, in_axes=(None, *(0 if leaf.ndim else None for leaf in leaves)))(
            shared, *leaves
        )

    specs = jax.tree.map(lambda leaf: SPLIT if jnp.ndim(leaf) else COPIED, own)
    return jax.shard_map(
        on_each_device, mesh=mesh, in_specs=(COPIED, specs), out_specs=SPLIT, check_vma=False
    )(shared, own)


def device_mesh(devices: Sequence[Any], each: int = 1) -> Mesh:
    """Devices in rows: along `member` the members of a population, along `batch` the `each` devices
    that share a member's batches.
    """
    return Mesh(
        np.array(devices).reshape(-1, each),
        ("member", "batch"),
        axis_types=(AxisType.Auto, AxisType.Auto),
    )
