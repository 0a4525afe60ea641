"""The rule for how many members train at once, on devices that are not here."""

import logging
import os
from dataclasses import dataclass
from typing import Any

import jax
import pytest

import jaxnet
from jaxnet import Plan, Recipe, errors
from jaxnet.core.training import Problem
from jaxnet.population.job import make_jobs
from jaxnet.population.placement import (
    MOST,
    VMEM,
    place_members,
    plan_for_members,
    plan_of_equal_waves,
)

RECIPE = Recipe(batch_size=64, schedule="constant")


@dataclass(frozen=True)
class Device:
    """As much of one as the rule asks."""

    platform: str
    memory: int | None = None
    device_kind: str = "of another kind"

    def memory_stats(self) -> dict[str, Any] | None:
        return None if self.memory is None else {"bytes_limit": self.memory}


def plan(model, splits, platform, *, recipe=RECIPE, count=2, memory=None):
    return plan_for_members(
        Problem(model, splits, recipe), 1000, [Device(platform, memory)] * count
    )[0]


@pytest.mark.parametrize(
    ("hidden", "chunk"), [((4,), MOST), ((64, 32), 16), ((256, 128), 2), ((1024, 1024), 1)]
)
def test_on_a_cpu_small_steps_are_taken_together(digits, hidden, chunk):
    assert plan(jaxnet.mlp(hidden), digits, "cpu") == Plan(2, chunk=chunk)


def test_on_a_cpu_convolutions_train_one_at_a_time_in_parts_of_a_batch(digits):
    model = jaxnet.cnn((4,), (8,))
    assert plan(model, digits, "cpu") == Plan(2, micro_batch=16)
    # masks are an example's own
    assert plan(model, digits, "cpu", recipe=Recipe(dropout=0.1, schedule="constant")) == Plan(
        2, micro_batch=16
    )
    # Not where parts would have other partners than the whole batch, so that a member would not be
    # the run alone.
    assert plan(
        model,
        digits,
        "cpu",
        recipe=Recipe(augmentation=jaxnet.Augmentation(mixup=0.2), schedule="constant"),
    ) == Plan(2)
    assert plan(jaxnet.cnn((4,), (8,), normalization="batch"), digits, "cpu") == Plan(2)


def test_populations_of_equal_waves_share_a_program(digits, compilations):
    model, recipe = jaxnet.linear(), Recipe(epochs=1, schedule="constant")
    plan = plan_of_equal_waves(Problem(model, digits, recipe))
    keys = jax.random.split(jax.random.key(0), 2 * plan.devices + 1)
    few, more = (keys[:count] for count in (plan.devices, len(keys)))
    first = jaxnet.fit_population(model, digits, recipe, few, plan=plan)
    assert compilations
    del compilations[:]
    second = jaxnet.fit_population(model, digits, recipe, more, plan=plan)
    assert compilations == []
    same = jax.tree.map(lambda a, b: (a == b[: len(few)]).all(), first.params, second.params)
    assert all(jax.tree.leaves(same))


def test_convolutions_have_equal_waves_by_the_rule(digits):
    recipe = Recipe(epochs=1, schedule="constant")
    assert plan_of_equal_waves(Problem(jaxnet.cnn((4,), (8,)), digits, recipe)) is None


def test_a_population_is_placed_by_the_same_rule(digits):
    given = Problem(jaxnet.cnn((4,), (8,)), digits, RECIPE)
    (job,) = make_jobs([given] * 4, jax.random.split(jax.random.key(0), 4))
    assert place_members(job, 4)[0].micro_batch == 16


@pytest.mark.parametrize(("optimizer", "copies"), [("sgd", 1), ("momentum", 2), ("adam", 3)])
def test_on_a_tpu_parameters_and_optimizer_state_fit_the_chip(digits, optimizer, copies):
    found = plan(
        jaxnet.mlp((128, 64)),
        digits,
        "tpu",
        recipe=Recipe(optimizer=optimizer, schedule="constant"),
    )
    weights = 64 * 128 + 128 + 128 * 64 + 64 + 64 * 10 + 10
    room = VMEM - digits.train.x.nbytes - digits.train.y.nbytes
    assert found.chunk == pytest.approx(room / (4 * copies * weights), abs=1.5)


def test_on_a_gpu_as_many_as_its_memory_holds(digits):
    few, many = (plan(jaxnet.mlp((128, 64)), digits, "gpu", memory=n << 30) for n in (1, 8))
    assert 7.5 < many.chunk / few.chunk < 8.5
    wide = plan(jaxnet.mlp((1024, 1024)), digits, "gpu", memory=1 << 30)
    assert wide.chunk < few.chunk / 20
    assert plan(jaxnet.mlp((1024, 1024)), digits, "gpu", memory=1 << 10).chunk == 1
    assert plan(jaxnet.mlp((8,)), digits, "gpu").chunk >= 1  # a driver that does not say


def test_one_device_of_many_cores_is_pointed_out(digits, caplog, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(errors, "ALREADY_SAID", set())
    with caplog.at_level(logging.WARNING, "jaxnet"):
        for _ in range(2):  # it is said once a process
            plan(jaxnet.mlp((8,)), digits, "cpu", count=1)
    assert caplog.messages == [
        "using 1 of 4 CPU cores; to use all of them, call jaxnet.use_cpu_devices() before any "
        "other JAX call"
    ]


def test_the_reason_is_given(digits):
    words = plan_for_members(Problem(jaxnet.mlp((64, 32)), digits, RECIPE), 10, jax.devices())[1]
    assert words == "one step of a member takes 2.5 million operations"
