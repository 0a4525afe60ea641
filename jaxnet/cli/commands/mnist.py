"""How well does a network read the digits of MNIST?

    jaxnet mnist --data-dir FOLDER                with the four official files in FOLDER
    jaxnet mnist --data-dir FOLDER --preset cnn   mlp, cnn, best-mlp or fast

Test accuracy, mean ± standard deviation over seeds, on 2 cores of an AMD EPYC (AVX2), jax 0.10.2:

    mlp        98.29% ± 0.05% over 10 seeds, 7 s each; widths and recipe
               were chosen on the validation set
    cnn        99.44% ± 0.02% over 3 seeds, 280 s alone on the machine
    best-mlp   99.35% ± 0.06% over 3 seeds; no convolution, but images
               deformed anew in each of 60 epochs
    fast       99.03% ± 0.08% over 30 seeds, 6.1 s without compilation
               (experiments/benchmarks/mnist_record.py)
"""

from collections.abc import Sequence

from jaxnet.cli import runner
from jaxnet.cli.options import TrainOptions

MNIST = TrainOptions(dataset="mnist", hidden=(256, 128), epochs=5, batch_size=128)
CNN = TrainOptions(
    dataset="mnist", validation=0.0, model="cnn", channels=(32, 64), hidden=(128,), epochs=10,
    batch_size=128, learning_rate=3e-3, dropout=0.3, shift=2.0, rotate=12.0, scale=0.12,
)  # fmt: skip
BEST_MLP = TrainOptions(
    dataset="mnist", validation=0.0, hidden=(1024, 512), epochs=60, batch_size=128,
    learning_rate=2e-3, shift=2.0, rotate=12.0, scale=0.12, elastic=1.0,
)  # fmt: skip
FAST = TrainOptions(
    dataset="mnist", validation=0.0, model="cnn", channels=(16, 32), hidden=(64,), kernel=(5, 3),
    stride=(2, 1), padding="VALID", epochs=2, batch_size=256, learning_rate=1e-2, momentum=0.7,
    b2=0.9,
)  # fmt: skip
PRESETS = {"mlp": MNIST, "cnn": CNN, "best-mlp": BEST_MLP, "fast": FAST}


def main(arguments: Sequence[str] | None, *, program: str, began: float) -> int:
    """Runs the command. See `jaxnet.cli.commands.run`."""
    return runner.main("mnist", PRESETS, __doc__, began=began, arguments=arguments, program=program)
