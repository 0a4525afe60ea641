"""Map a pure function of one member over many members, on several devices."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, PartitionSpec
from jaxtyping import PyTree

# shardings of arrays with a leading axis of members, and of shared arrays
SPLIT, COPIED = (PartitionSpec("member"), PartitionSpec())


def spread(one: Callable[..., Any], mesh: Mesh, shared: PyTree, own: PyTree) -> Any:
    """Compute `one(shared, own)` for each member, spread over the devices of a mesh.

    No data moves between devices. A device that has a single member runs the very program that the
    member would run alone.

    Args:
        one: a pure function of (shared, own) for one member.
        mesh: the devices, as `device_mesh` arranges them.
        shared: a pytree that all members share.
        own: a pytree of arrays with a leading axis of members; scalars are shared by all.

    Returns:
        The results, with a leading axis of members.
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
    """Arrange devices in a mesh with the axes `member` and `batch`.

    Args:
        devices: the devices, in order.
        each: number of devices that share the batches of one member.

    Returns:
        A mesh of shape (len(devices) / each, each).
    """
    return Mesh(
        np.array(devices).reshape(-1, each),
        ("member", "batch"),
        axis_types=(AxisType.Auto, AxisType.Auto),
    )
