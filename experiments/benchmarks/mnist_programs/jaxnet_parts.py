"""What jaxnet_fit.py does, and when: prints the times at which its parts end, in seconds since the
epoch.
"""

import json
import sys
import time

import jax

import jaxnet

ends = [time.time()]
folder = sys.argv[1]
compilation = []


def listen(event: str, duration_secs: float, **about: object) -> None:
    """Notes how long the training was compiled."""
    if "backend_compile" in event and about.get("fun_name") == "jit(_fit)":
        compilation.append(duration_secs)


jax.monitoring.register_event_duration_secs_listener(listen)
splits = jaxnet.load("mnist", data_dir=folder, validation=0)
ends.append(time.time())
model = jaxnet.mlp((128, 64))
recipe = jaxnet.Recipe(
    optimizer="adam", epochs=3, batch_size=128, learning_rate=1e-3, schedule="constant"
)
run = jaxnet.fit(model, splits, recipe, jax.random.key(0))  # returns when the training begins
ends += [time.time() - compilation[0], time.time()]
accuracy = jaxnet.evaluate(model, run, splits.test).accuracy.estimate
print(json.dumps([*ends, time.time()]))
