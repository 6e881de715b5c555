"""`fastmlp compare`"""

import numpy as np

import fastmlp
from fastmlp.cli.command import add_command, add_json_option, print_result
from fastmlp.cli.training_options import add_training_options, training_arguments


def add_parser(commands) -> None:
    """Add `fastmlp compare` to the commands."""
    purpose = "Train on MNIST with kernels and with the NumPy reference, from the same weights."
    parser = add_command(commands, "compare", run, purpose, example="fastmlp compare --epochs 2 --activation gelu")
    add_training_options(parser, epochs=3)
    add_json_option(parser)


def run(options) -> None:
    from fastmlp import reference
    from fastmlp.warmup import warmup

    arguments = training_arguments(options)
    mnist = fastmlp.load_mnist()
    warmup()
    snapshots: list[list[np.ndarray]] = []
    fast = fastmlp.train(
        mnist.x_train, mnist.y_train, **arguments, progress=False,
        callbacks=[lambda model: snapshots.append([p.copy() for p in model.weights + model.biases])],
    )  # fmt: skip
    epochs: list[dict[str, float]] = []
    if not options.json:
        print("epoch  largest difference of weights  of the loss      fastmlp    reference")

    def line(model):
        epoch = len(model.history["epoch"])
        ours = snapshots[epoch - 1]
        weights = max(float(np.abs(a - b).max()) for a, b in zip(ours, model.weights + model.biases))
        losses = abs(fast.history["train_loss"][epoch - 1] - model.history["train_loss"][-1])
        seconds = fast.history["seconds"][epoch - 1], model.history["seconds"][-1]
        epochs.append(
            {
                "epoch": epoch,
                "weight_difference": weights,
                "loss_difference": losses,
                "seconds": seconds[0],
                "reference_seconds": seconds[1],
            }
        )
        if not options.json:
            print(f"{epoch:5d}  {weights:29.2e}  {losses:11.2e}  {seconds[0]:9.3f} s  {seconds[1]:9.3f} s", flush=True)

    slow = reference.train(mnist.x_train, mnist.y_train, **arguments, callbacks=[line])
    seconds = sum(fast.history["seconds"]), sum(slow.history["seconds"])
    text = (
        f"fastmlp is {seconds[1] / seconds[0]:.1f}x faster than NumPy ({seconds[0]:.2f} s against {seconds[1]:.2f} s)"
    )
    print_result(options, {"epochs": epochs, "seconds": seconds[0], "reference_seconds": seconds[1]}, text)
