import os
import subprocess
import sys
from pathlib import Path

import fastmlp

# Whoever takes the package's types for granted: a program that mypy reads, and that is not run.
PROGRAM = """\
import numpy as np
import numpy.typing as npt

import fastmlp
from fastmlp.callbacks import Checkpoint, CSVLog, EarlyStopping, TimeBudget

mnist = fastmlp.load_mnist()
optimizers: list[fastmlp.SGD | fastmlp.Adam] = [fastmlp.SGD(momentum=0.9), fastmlp.AdamW()]
model: fastmlp.MLP = fastmlp.train(
    mnist.x_train, mnist.y_train, hidden=(8, 8), activation=["relu", "gelu"], loss="cross_entropy",
    optimizer=optimizers[0], learning_rate=fastmlp.Warmup(fastmlp.Cosine(0.1), 1), batch_size=32, epochs=1,
    validation=(mnist.x_test, mnist.y_test), dropout=0.1, class_weight="balanced", metrics=["top_5"],
    callbacks=[EarlyStopping(), TimeBudget(5.0), CSVLog("log.csv"), Checkpoint("model.safetensors"), print],
)
labels: npt.NDArray[np.int64] = model.predict(mnist.x_test)
probabilities: npt.NDArray[np.float32] = model.predict_proba(mnist.x_test)
metrics: fastmlp.Metrics = model.evaluate(mnist.x_test, mnist.y_test)
accuracy: float = metrics.accuracy
loss: float = model.partial_fit(mnist.x_train, mnist.y_train, learning_rate=0.01).loss
history: dict[str, list[float]] = model.history
model.save("model.safetensors")
weights: list[npt.NDArray[np.float32]] = fastmlp.load("model.safetensors").weights
try:
    fastmlp.train(mnist.x_train, mnist.y_train, learning_rate=lambda step: 1 / (1 + step))
except fastmlp.DivergenceError as error:
    print(error.model.widths, error.epoch)
curves: list[float] = fastmlp.reproduce(iterations=1).history["train_loss"]
theirs = fastmlp.reference.train(mnist.x_train, mnist.y_train, epochs=1)
print(theirs.predict(mnist.x_test))
other: fastmlp.MLP = fastmlp.from_torch({})
other.to_onnx("model.onnx")
"""
WRONG = {
    "fastmlp.train(x, y, batch_size='many')": "arg-type",
    "fastmlp.SGD(momentum='much')": "arg-type",
    "fastmlp.train(x, y, epoch=3)": "call-arg",
    "model.evaluate(x, y).recall": "attr-defined",
    "fastmlp.fit(x, y)": "attr-defined",
}


def check(program, tmp_path):
    path = tmp_path / "program.py"
    path.write_text(program)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(path)]
    # as an installed package, in which nothing is reported, and without this repository's settings
    environment = {**os.environ, "PYTHONPATH": str(Path(fastmlp.__file__).parent.parent)}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)


def test_a_users_program_passes_a_strict_check(tmp_path):
    result = check(PROGRAM, tmp_path)
    assert result.returncode == 0, result.stdout


def test_mistakes_are_found(tmp_path):
    lines = [
        "import numpy as np",
        "import fastmlp",
        "x, y = np.zeros((2, 2)), np.zeros(2)",
        "model = fastmlp.train(x, y)",
    ]
    result = check("\n".join([*lines, *WRONG]), tmp_path)
    for number, code in enumerate(WRONG.values(), len(lines) + 1):
        assert f":{number}: error:" in result.stdout
        assert f"[{code}]" in result.stdout
    assert result.stdout.count("error:") == len(WRONG)
