"""flashbax: a sum tree and a prioritised buffer in JAX, compiled for the CPU."""

from __future__ import annotations

import functools
import importlib
from typing import Any

import numpy as np

from .base import Array, Driver, Factory, Operation, import_jax
from .data import ALPHA, BETA
from .replay_base import NEXT, BufferContestant, TreeContestant, WeightsContestant, cycle


class FlashbaxTree(TreeContestant):
    """``sum_tree.stratified_sample`` and ``set_batch_scan`` (its CPU choice), jitted, the state donated."""

    def __init__(self, params: dict[str, Any]) -> None:
        super().__init__(params)
        self.jax = import_jax()
        self.sum_tree = importlib.import_module("flashbax.buffers.sum_tree")
        self.state = self.sum_tree.init(self.capacity)
        self.key = self.jax.random.PRNGKey(0)
        self.write = self.jax.jit(self.sum_tree.set_batch_scan, donate_argnums=0)

    def sampler(self, batch: int) -> Operation:
        """One compiled call splits the key and draws."""
        jax = self.jax

        def draw(state: Any, key: Any) -> Any:
            key, now = jax.random.split(key)
            return self.sum_tree.stratified_sample(state, batch, now), key

        jitted = jax.jit(draw)

        def sample() -> Any:
            indices, self.key = jitted(self.state, self.key)
            return indices.block_until_ready()

        sample()
        return sample

    def inputs(self, indices: Array, values: Array) -> tuple[Any, Any]:
        """JAX arrays."""
        return self.jax.numpy.asarray(indices, "int32"), self.jax.numpy.asarray(values)

    def set(self, indices: Any, values: Any) -> None:
        """Write and wait."""
        self.state = self.write(self.state, indices, values)
        self.state.nodes.block_until_ready()


class FlashbaxBuffer(BufferContestant):
    """``make_prioritised_item_buffer``, jitted, the state donated; the call that samples computes the weights."""

    def create(self) -> None:
        """Make the state on the first :meth:`fill`, which knows the columns."""
        self.jax = import_jax()
        self.state: Any = None
        self.key = self.jax.random.PRNGKey(0)

    @functools.cache  # noqa: B019 - one object for the life of the process
    def _functions(self, batch: int, single: bool = False) -> tuple[Any, Any, Any, Any]:
        """Return (buffer, add, sample with weights, set_priorities), compiled for one batch size."""
        jax, jnp = self.jax, self.jax.numpy
        buffer = importlib.import_module("flashbax").make_prioritised_item_buffer(
            self.capacity, 1, batch, add_batches=not single, priority_exponent=ALPHA, device="cpu"
        )

        def draw(state: Any, key: Any) -> Any:
            key, now = jax.random.split(key)
            sample = buffer.sample(state, now)
            weights = (1.0 / sample.probabilities) ** BETA
            return sample, weights / jnp.max(weights), key

        return (
            buffer,
            jax.jit(buffer.add, donate_argnums=0),
            jax.jit(draw),
            jax.jit(buffer.set_priorities, donate_argnums=0),
        )

    def fill(self, data: dict[str, Array]) -> None:
        """``add`` with a leading batch axis."""
        jnp = self.jax.numpy
        buffer, add, _, _ = self._functions(256)
        entry = {key: jnp.asarray(value) for key, value in data.items()}
        if self.state is None:
            self.state = buffer.init({key: value[0] for key, value in entry.items()})
        self.state = add(self.state, entry)

    def sampler(self, batch: int) -> Operation:
        """Draw and wait for every column."""
        draw = self._functions(batch)[2]

        def sample() -> Any:
            drawn, weights, self.key = draw(self.state, self.key)
            self.jax.block_until_ready((drawn, weights))
            return drawn, weights

        sample()
        return sample

    def unpack(self, result: Any) -> tuple[Array | None, Array | None, dict[str, Array]]:
        """(sample, weights)."""
        sample, weights = result
        columns = {key: np.asarray(value) for key, value in sample.experience.items()}
        return np.asarray(sample.indices).astype(np.int64), np.asarray(weights), columns

    def inputs(self, indices: Array, errors: Array) -> tuple[Any, Any]:
        """JAX arrays."""
        return self.jax.numpy.asarray(indices, "int32"), self.jax.numpy.asarray(errors)

    def update(self, indices: Any, errors: Any) -> None:
        """``set_priorities``, and wait."""
        self.state = self._functions(256)[3](self.state, indices, errors)
        self.state.sum_tree_state.nodes.block_until_ready()

    def looper(self, batch: int, errors: NEXT) -> Operation:
        """Two compiled calls, as the learner stands between them."""
        sample = self.sampler(batch)
        write = self._functions(256)[3]

        def loop() -> Any:
            drawn = sample()
            self.state = write(self.state, drawn[0].indices, errors())
            self.state.sum_tree_state.nodes.block_until_ready()
            return drawn

        loop()
        return loop

    def adder(self, batch: int, pool: list[dict[str, Array]]) -> Operation:
        """``add``, and wait; NumPy arrays in, as an environment on the CPU gives them."""
        add = self._functions(256, batch == 1)[1]
        following = cycle(pool)

        def operation() -> None:
            self.state = add(self.state, following())
            self.jax.block_until_ready(self.state)

        operation()
        return operation


class JaxWeights(WeightsContestant):
    """The formula in JAX, float32, jitted."""

    def __init__(self, params: dict[str, Any]) -> None:
        super().__init__(params)
        jax = import_jax()
        jnp = jax.numpy
        self.asarray = jnp.asarray

        def weights(probabilities: Any) -> Any:
            result = (probabilities * self.size) ** -BETA
            return result / jnp.max(result)

        self.jitted = jax.jit(weights)

    def inputs(self, probabilities: Array) -> Any:
        """A float32 JAX array."""
        given = self.asarray(probabilities, "float32")
        self.jitted(given).block_until_ready()
        return given

    def compute(self, probabilities: Any) -> Any:
        """One compiled call."""
        return self.jitted(probabilities).block_until_ready()


class Flashbax(Driver):
    """flashbax, and JAX's importance weights, whose environment it shares."""

    name = "flashbax"
    packages = ("flashbax", "jax", "jaxlib", "numpy")

    def contestants(self, workload: str, params: dict[str, Any]) -> dict[str, Factory]:
        """Trees, buffers and weights."""
        if workload == "tree":
            return {"flashbax": lambda: FlashbaxTree(params)}
        if workload in ("small", "images"):
            return {"flashbax": lambda: FlashbaxBuffer(workload, params)}
        if workload == "weights":
            # In double precision only if all of this process is.
            return {"jax": lambda: JaxWeights(params)} if params["dtype"] == "float32" else {}
        return {}


DRIVER = Flashbax()
