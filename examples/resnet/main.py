"""Trains ResNet-18 on CIFAR-10 with Flax NNX and optax, on whatever device JAX runs on."""

import argparse
import functools
import sys
import time

import jax
import numpy as np
import optax
import tqdm
from flax import nnx

import data
import model


def make_step(network: nnx.Module, optimizer: optax.GradientTransformation):
    """The initial state (parameters, batch statistics, optimizer state) and the step function."""
    graph, parameters, statistics = nnx.split(network, nnx.Param, ...)

    def loss_and_statistics(parameters, statistics, images, labels):
        network = nnx.merge(graph, parameters, statistics, copy=True)
        logits = network(images)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
        return loss, nnx.split(network, nnx.Param, ...)[2]

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state, images, labels):
        parameters, statistics, moments = state
        gradient = jax.value_and_grad(loss_and_statistics, has_aux=True)
        (loss, statistics), gradients = gradient(parameters, statistics, images, labels)
        updates, moments = optimizer.update(gradients, moments, parameters)
        return (optax.apply_updates(parameters, updates), statistics, moments), loss

    return (parameters, statistics, optimizer.init(parameters)), step


def train(images, labels, steps, batch_size, seed, width=64, rate=0.02, progress=None):
    """Trains for `steps` steps; returns the losses and the time in seconds each step took."""
    network = model.ResNet18(classes=10, rngs=nnx.Rngs(seed), width=width)
    network.train()
    state, step = make_step(network, optax.sgd(rate, momentum=0.9))
    losses, times = [], []
    chosen = data.batches(len(images), batch_size, seed)
    for _ in range(steps):
        batch = next(chosen)
        start = time.perf_counter()
        state, loss = step(state, images[batch], labels[batch])
        losses.append(float(loss))  # reading the value waits for the step
        times.append(time.perf_counter() - start)
        if progress is not None:
            progress.set_postfix(loss=f"{losses[-1]:.4f}", refresh=False)
            progress.update()
    return losses, times


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100, help="number of training steps")
    parser.add_argument("--batch-size", type=int, default=32, help="images per step")
    parser.add_argument("--data", metavar="DIR", help="CIFAR-10: its folder or .tar.gz, python or binary")
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights and of the order")
    arguments = parser.parse_args()
    if arguments.steps < 1 or arguments.batch_size < 1:
        parser.error("--steps and --batch-size must be at least 1")
    return arguments


def main() -> int:
    arguments = _arguments()
    try:
        images, labels, what = data.load(arguments.data)
    except data.DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if len(images) < arguments.batch_size:
        print(f"error: --batch-size exceeds the {len(images)} images", file=sys.stderr)
        return 2
    print(f"Data: {what}: {len(images)} images")
    print(f"Device: {jax.devices()[0]}")
    with tqdm.tqdm(total=arguments.steps, unit="step") as progress:
        losses, times = train(
            images, labels, arguments.steps, arguments.batch_size, arguments.seed, progress=progress
        )
    print(f"Final training loss: {losses[-1]:.4f}")
    print(f"Time per step (second half): {np.mean(times[len(times) // 2 :]):.4f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
