"""How many members of a population a device trains at once: a fixed rule from platform, sizes and memory, never a timing."""

import jax

from .data import Splits
from .devices import Plan
from .models import Model
from .recipe import Recipe


def plan_for_members(model: Model, splits: Splits, recipe: Recipe, members: int) -> tuple[Plan, str]:
    """(the plan, and why)."""
    devices = jax.local_device_count()
    return Plan(devices=devices, chunk=8), "a try"
