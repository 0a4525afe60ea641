"""What a training of a given size needs, calculated: memory of a device and seconds, by kind and
number of devices.
"""

import math
from itertools import pairwise
from typing import NamedTuple

from jaxnet.data.streaming.stream import ReadSizes
from jaxnet.population.placement import MOST, SHARE, STEP, VMEM

CLASSES, FEATURES = 10, 784
# numbers a parameter that the optimizer keeps
MOMENTS = {"sgd": 0, "momentum": 1, "nesterov": 1, "adam": 2}


class Job(NamedTuple):
    """What is to be trained.

    parameters: of a member. features: of an example, of `itemsize` bytes each. activations: numbers
    of an example that the layers give, the outputs among them. best: whether the best parameters on
    a validation set are kept.
    """

    members: int
    parameters: int
    examples: int
    features: int
    activations: int
    batch: int
    epochs: int
    optimizer: str = "adam"
    itemsize: int = 1
    best: bool = True


class Kind(NamedTuple):
    """A kind of device.

    rate: operations a second in training. memory: bytes. bandwidth: of the memory, bytes a second.
        overhead: seconds a step.
    link: bytes a second that a device sends to others. hop: seconds of a message. host: devices
        that share a disk.
    """

    name: str
    platform: str
    rate: float
    memory: float
    bandwidth: float
    overhead: float
    link: float
    hop: float
    host: int = 1


class Need(NamedTuple):
    """What a run needs. together: members at once on a device. memory: bytes of a device. streamed:
    the examples stay on disk.
    """

    together: int
    memory: float
    seconds: float
    streamed: bool


def chips(utilization: float) -> list[tuple[Kind, tuple[int, ...]]]:
    """Kinds of accelerators with the numbers of them to calculate for.

    Peak, memory and links of https://docs.cloud.google.com/tpu/docs/v5e and .../v5p (TPUs multiply
    float32 in bfloat16 passes, by JAX's default), and of NVIDIA's data sheet of the H100 SXM (TF32
    without sparsity, NVLink in one direction). A step's overhead is that of some ten kernels, and a
    hop one microsecond: assumptions.
    """
    return [
        (
            Kind("TPU v5e", "tpu", 197e12 * utilization, 16e9, 819e9, 15e-6, 200e9, 1e-6, 8),
            (1, 256),
        ),
        (
            Kind("TPU v5p", "tpu", 459e12 * utilization, 95e9, 2765e9, 15e-6, 600e9, 1e-6, 4),
            (1, 8960),
        ),
        (Kind("H100", "gpu", 494.7e12 * utilization, 80e9, 3350e9, 30e-6, 450e9, 2e-6, 8), (1, 8)),
    ]


def of_network(
    hidden: tuple[int, ...], features: int = FEATURES, outputs: int = CLASSES
) -> tuple[int, int]:
    """(parameters, activations of an example) of fully connected layers."""
    widths = (features, *hidden, outputs)
    return sum((a + 1) * b for a, b in pairwise(widths)), sum(widths[1:])


def state_bytes(job: Job) -> int:
    """Of a member's parameters, what its optimizer keeps, and its best parameters: the arrays of a
    TrainState.
    """
    return 4 * job.parameters * (1 + MOMENTS[job.optimizer] + job.best)


def member_bytes(job: Job, batch: int) -> int:
    """Of a member in training on batches of so many examples.

    Beside its state: gradient, and parameters and moments once more, since the loop over steps has
    its own; of each example of the batch its row, the same as inputs, and activations with their
    gradients; row numbers and random bits, each also sorted.
    """
    working = 4 * job.parameters * (2 + MOMENTS[job.optimizer])
    examples = batch * (job.features * (job.itemsize + 4) + 2 * 4 * job.activations)
    return state_bytes(job) + working + examples + 5 * 4 * job.examples


def example_bytes(job: Job) -> int:
    """Of an example and its label."""
    return job.features * job.itemsize + 4


def need(job: Job, kind: Kind, devices: int, disk: float) -> Need | None:
    """What a job needs on so many devices, or None where it does not fit: only one network is
    trained on examples from disk.
    """
    alone = job.members == 1
    batch = math.ceil(job.batch / devices) if alone else job.batch
    each, shared, streamed = member_bytes(job, batch), job.examples * example_bytes(job), False
    room = SHARE * kind.memory
    if alone and each + shared > room:
        streamed, held = True, min(job.examples, ReadSizes().chunk_bytes // example_bytes(job))
        # one chunk in training, and one that waits
        each, shared = (
            member_bytes(job._replace(examples=held), batch),
            2 * ReadSizes().chunk_bytes,
        )
    together = together_on(
        job, kind, math.ceil(job.members / devices), (room - shared) // each, shared
    )
    if together < 1:
        return None
    waves = math.ceil(math.ceil(job.members / devices) / together)
    steps = job.epochs * math.ceil(job.examples / job.batch)
    seconds = waves * steps * step_seconds(job, kind, together, batch, devices if alone else 1)
    if streamed:  # read while the chunk before is trained on
        hosts = math.ceil(devices / kind.host)
        seconds = max(seconds, job.epochs * job.examples * example_bytes(job) / (hosts * disk))
    return Need(together, shared + together * each, seconds, streamed)


def together_on(job: Job, kind: Kind, own: int, fit: float, shared: float) -> int:
    """How many of its own members a device trains at once, of those that fit: as `jaxnet.chunking`
    has it.
    """
    if kind.platform == "cpu":
        fit = min(fit, max(1, min(MOST, STEP // (6 * job.parameters * job.batch))))
    if kind.platform == "tpu":
        fit = min(fit, max(1, max(VMEM - shared, VMEM // 4) // moved_bytes(job)))
    return int(min(own, fit))


def moved_bytes(job: Job) -> int:
    """Of parameters and what the optimizer keeps, which every step reads and writes."""
    return 4 * job.parameters * (1 + MOMENTS[job.optimizer])


def step_seconds(job: Job, kind: Kind, together: int, batch: int, devices: int) -> float:
    """Of one optimizer step of the members at once on a device by XLA's program, and of the
    exchange of gradients between devices.

    6 operations a parameter and example; or, where that takes longer, the state and the gradient
    through the memory, unless they stay on a TPU's chip.
    """
    state = together * moved_bytes(job)
    on_chip = kind.platform == "tpu" and state <= VMEM
    through = 0.0 if on_chip else 2 * (state + 4 * job.parameters * together) / kind.bandwidth
    return (
        kind.overhead
        + max(6 * job.parameters * batch * together / kind.rate, through)
        + exchange_seconds(job.parameters, kind, devices)
    )


def exchange_seconds(parameters: int, kind: Kind, devices: int) -> float:
    """Of an all-reduce of a gradient in float32: each byte out and back, and no fewer hops than a
    tree has.
    """
    if devices == 1:
        return 0.0
    return (
        2 * 4 * parameters * (devices - 1) / devices / kind.link
        + 2 * math.ceil(math.log2(devices)) * kind.hop
    )


def line(first: tuple[float, float], second: tuple[float, float]) -> tuple[float, float]:
    """(offset, slope) through two points, none of them negative: through the origin and the second,
    where the offset would be.
    """
    slope = (second[1] - first[1]) / (second[0] - first[0])
    offset = first[1] - slope * first[0]
    return (offset, slope) if offset >= 0 and slope > 0 else (0.0, second[1] / second[0])
