"""Collaborative learning: clients with tasks of their own that average their networks in rounds."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl_core.agents.common.devices import flushed_denormals
from metarl_core.agents.common.options import ConfigError
from metarl_core.agents.imt.averaging import averaging_weights, return_accuracy
from metarl_core.agents.imt.embedding import TaskEmbedding
from metarl_core.agents.imt.reference import purpose_seed
from metarl_core.agents.meta.networks import average_parameters, layers_of
from metarl_core.agents.meta.playing import REFERENCE_ROWS, record, reference_policy
from metarl_core.agents.meta.q_learner import QLearner
from metarl_core.agents.meta.sub_agents import check_sub_agents
from metarl_core.tasks import TaskDataset

__all__ = ["Collaborative", "CollaborativeRound", "WeightedAverage"]

Array = NDArray[np.float64]
_SIMILARITIES = ("embedding", "none")
_ACCURACIES = ("return", "none")


@dataclasses.dataclass(frozen=True)
class WeightedAverage:
    """How much each client counts in the network that another one is given.

    w_ji ∝ exp(cos(e_j, e_i) / T) (acc_i + eps), IMT's weights with the embeddings of the clients' tasks: client j gets
    an average of its own, in which clients with tasks like its own count more (as in FedAMP, Huang et al. 2021, AAAI).
    ``similarity="none"`` and ``accuracy="none"`` leave their part out; without both, all get the same plain average,
    which is FedAvg (McMahan et al. 2017, AISTATS) of clients with equally much data.

    Args:
        similarity: ``embedding`` or ``none``.
        accuracy: ``return``: acc_i is the normalised return of client i on its own task, from that of uniform actions
            to the best of its rounds (:func:`metarl_core.agents.imt.averaging.return_accuracy`); or ``none``.
        temperature: T > 0.
        accuracy_eps: eps >= 0.

    Raises:
        ConfigError: a value is out of range.
    """

    similarity: str = "embedding"
    accuracy: str = "return"
    temperature: float = 0.2
    accuracy_eps: float = 0.01

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("similarity", self.similarity, _SIMILARITIES),
            ("accuracy", self.accuracy, _ACCURACIES),
        ):
            if value not in choices:
                raise ConfigError(f"{name}={value!r}: choose one of {', '.join(choices)}")
        if not self.temperature > 0:
            raise ConfigError(f"temperature={self.temperature}: must be > 0")
        if not self.accuracy_eps >= 0:
            raise ConfigError(f"accuracy_eps={self.accuracy_eps}: must be >= 0")

    def weights(self, cosines: Array | None, accuracy: Array) -> Array:
        """The weights of all clients for all clients.

        Args:
            cosines: cos(e_j, e_i), [K, K]; None without ``similarity``.
            accuracy: acc_i, [K].

        Returns:
            float64 [K, K]: w_ji, rows of sum 1.
        """
        count = len(accuracy)
        kinds = {
            (True, True): "similarity_accuracy",
            (True, False): "similarity",
            (False, True): "accuracy",
            (False, False): "uniform",
        }
        how = kinds[self.similarity == "embedding", self.accuracy == "return"]
        rows = np.zeros((count, count)) if cosines is None else cosines
        return np.stack(
            [
                averaging_weights(
                    row, accuracy, temperature=self.temperature, accuracy_eps=self.accuracy_eps, weighting=how
                )
                for row in rows
            ]
        )


@dataclasses.dataclass(frozen=True, eq=False)
class CollaborativeRound:
    """What one round came to.

    Attributes:
        number: from 1.
        weights: w_ji, what client i counts in the network of client j, float64 [K, K].
        returns: of each client's network on its own task before the averaging, [K]; None: accuracy does not need them.
        errors: mean absolute TD error of each client's local steps, [K].
        drift: length of theta_i - theta_i^given after the local steps, [K].
    """

    number: int
    weights: Array
    returns: Array | None
    errors: Array
    drift: Array


@contextlib.contextmanager
def pulled(learner: QLearner, anchor: Sequence[Tensor], mu: float) -> Iterator[None]:
    """Add FedProx's term mu / 2 |theta - anchor|^2 to a learner's loss meanwhile (Li et al. 2020, MLSys, eq. 2).

    Args:
        learner: its online network is pulled.
        anchor: what it is pulled to: weights and bias of each layer in turn.
        mu: >= 0.
    """
    if mu == 0:
        yield
        return
    agent = learner.agent
    plain = agent.losses
    own = [p for layer in layers_of(learner) for p in layer]

    def losses(batch: Mapping[str, Tensor], weights: Tensor, collect: bool) -> tuple[Tensor, Tensor]:
        loss, errors = plain(batch, weights, collect)
        distance = torch.stack([(p - a).square().sum() for p, a in zip(own, anchor, strict=True)]).sum()
        return loss + 0.5 * mu * distance, errors

    agent.losses = losses
    try:
        yield
    finally:
        agent.losses = plain


class Collaborative:
    """Rounds of local learning and averaging: no client's transitions leave it, only its network does.

    Every round each client makes gradient steps on its own data with FedProx's pull to the network that it was given,
    and is given an average of all clients' networks (:class:`WeightedAverage`). The clients begin with the first one's
    network, as an average of networks from different starts is none of anything. Slow copies are set to the new network
    and the optimiser's moments forgotten, as they belong to where the network was.

    Args:
        clients: single networks (Double DQN) of equal architecture and spaces, each with a task of its own.
        datasets: what each client learns from, in their order; None: each plays its own task in every round.
        strategy: weights of the averages.
        prox_mu: mu >= 0 of FedProx; 0: FedAvg's local steps.
        epochs: with ``datasets``, passes over the own data in a round.
        steps: without, environment steps of the own task in a round, into a replay of its own.
        episodes: greedy episodes that a client's accuracy is measured by.
        reference_steps: transitions of each task under the reference policy, for the embeddings.
        seed: of everything random here.

    Attributes:
        cosines: of the clients' task embeddings, float64 [K, K]; None: the strategy does not need them.

    Raises:
        ConfigError: there are fewer than two clients (three for embeddings), they are no single networks, or differ.
    """

    def __init__(
        self,
        clients: Sequence[QLearner],
        datasets: Sequence[TaskDataset] | None = None,
        strategy: WeightedAverage | None = None,
        *,
        prox_mu: float = 0.01,
        epochs: int = 1,
        steps: int = 1000,
        episodes: int = 5,
        reference_steps: int = 4096,
        seed: int = 0,
    ) -> None:
        self.clients = list(clients)
        self.strategy = WeightedAverage() if strategy is None else strategy
        self.prox_mu, self.epochs, self.steps, self.episodes = float(prox_mu), int(epochs), int(steps), int(episodes)
        self.seed = seed
        least = 3 if self.strategy.similarity == "embedding" else 2
        if len(self.clients) < least:
            why = " (of two centred tasks one is always the opposite of the other)" if least == 3 else ""
            raise ConfigError(
                f"clients has {len(self.clients)} learners; must have at least {least}{why}; add clients"
                + (", or set similarity='none'" if least == 3 else "")
            )
        check_sub_agents(self.clients)
        for name, value, low in (("prox_mu", self.prox_mu, 0), ("epochs", epochs, 1), ("steps", steps, 1)):
            if not value >= low:
                raise ConfigError(f"{name}={value}: must be >= {low}")
        self._networks()
        self.datasets = None if datasets is None else list(datasets)
        if self.datasets is not None:
            if len(self.datasets) != len(self.clients):
                raise ConfigError(
                    f"datasets has {len(self.datasets)} for {len(self.clients)} clients; must be one of each"
                )
            for client, dataset in zip(self.clients, self.datasets, strict=True):
                client.columns(dataset)  # refuses other spaces
        self.cosines = self._embed(reference_steps) if self.strategy.similarity == "embedding" else None
        count = len(self.clients)
        self._best = np.full(count, -np.inf)
        self._random = np.zeros(count)
        if self.strategy.accuracy == "return":
            self._random = np.array([self._random_return(i) for i in range(count)])
        capacity = max(client.q_config.replay_capacity for client in self.clients)
        self.replays = [
            client.make_replay(capacity, purpose_seed(self.seed, "replay", i))
            for i, client in enumerate(self.clients)
            if self.datasets is None
        ]
        first = self._networks()[0]
        for client in self.clients:
            self._give(client, first)
        self.rounds: list[CollaborativeRound] = []

    def _networks(self) -> list[list[Tensor]]:
        """A copy of every client's parameters; refuses those that cannot be averaged."""
        found = [[p.detach().clone() for layer in layers_of(client) for p in layer] for client in self.clients]
        shapes = [[tuple(p.shape) for p in network] for network in found]
        for client, own in zip(self.clients, shapes, strict=True):
            if own != shapes[0]:
                raise ConfigError(
                    f"client {client.name!r} has parameters of shapes {own}, and {self.clients[0].name!r} {shapes[0]}; "
                    "must be equal: give all the same configuration"
                )
        return found

    def _embed(self, steps: int) -> Array:
        datasets = [
            record(
                client.task,
                reference_policy(client.spaces, purpose_seed(self.seed, "actions", i)),
                steps=steps,
                seed=purpose_seed(self.seed, "reference", i),
                num_envs=REFERENCE_ROWS,
            )
            for i, client in enumerate(self.clients)
        ]
        try:
            embedding = TaskEmbedding(64, whiten=True, seed=self.seed).fit(datasets)
        except ValueError as error:
            raise ConfigError(f"the clients' tasks cannot be embedded: {error}; set similarity='none'") from error
        return embedding.similarity_matrix()

    def _random_return(self, number: int) -> float:
        client = self.clients[number]
        policy = reference_policy(client.spaces, purpose_seed(self.seed, "random", number))
        seed = purpose_seed(self.seed, "random returns", number)
        return float(record(client.task, policy, episodes=4 * self.episodes, seed=seed).returns.mean())

    @torch.no_grad()
    def _give(self, client: QLearner, network: Sequence[Tensor]) -> None:
        for own, value in zip((p for layer in layers_of(client) for p in layer), network, strict=True):
            own.copy_(value)
        client.agent.critic.update_target()
        client.agent.optimizer.state.clear()

    def round(self) -> CollaborativeRound:
        """Learn locally, weigh, average, and hand the averages out.

        Raises:
            TrainingDivergedError: a client's loss is no longer finite.
        """
        number = len(self.rounds) + 1
        given = self._networks()
        errors = np.array([self._learn(i, given[i], number) for i in range(len(self.clients))])
        after = self._networks()
        drift = np.array(
            [
                float(sum(float((a.double() - b.double()).square().sum()) for a, b in zip(*pair, strict=True)) ** 0.5)
                for pair in zip(after, given, strict=True)
            ]
        )
        returns, accuracy = self._accuracy()
        weights = self.strategy.weights(self.cosines, accuracy)
        for client, row in zip(self.clients, weights, strict=True):
            self._give(client, average_parameters(after, row))
        done = CollaborativeRound(number, weights, returns, errors, drift)
        self.rounds.append(done)
        return done

    def _learn(self, i: int, anchor: Sequence[Tensor], number: int) -> float:
        """Local steps of one client; its mean absolute TD error."""
        client = self.clients[i]
        with pulled(client, anchor, self.prox_mu), flushed_denormals():
            if self.datasets is not None:
                return float(np.mean(client.fit(self.datasets[i], self.epochs)))
            return client.play(self.steps, self.replays[i], seed=purpose_seed(self.seed, f"round {number}", i))

    def _accuracy(self) -> tuple[Array | None, Array]:
        count = len(self.clients)
        if self.strategy.accuracy == "none":
            return None, np.ones(count)
        seeds = [purpose_seed(self.seed, "accuracy", i) for i in range(count)]
        returns = np.array(
            [c.evaluate(episodes=self.episodes, seed=s).mean() for c, s in zip(self.clients, seeds, strict=True)]
        )
        self._best = np.maximum(self._best, returns)
        return returns, return_accuracy(returns, self._random, self._best)

    def evaluate(self, episodes: int = 20, seed: int = 0) -> Array:
        """Mean greedy return of every client on its own task, float64 [K]."""
        return np.array([client.evaluate(episodes=episodes, seed=seed).mean() for client in self.clients])

    def state_dict(self) -> dict[str, Any]:
        """What later rounds depend on; the datasets are not part of it."""
        return {
            "clients": [client.state_dict() for client in self.clients],
            "replays": [replay.state_dict() for replay in self.replays],
            "best": self._best.copy(),
            "random": self._random.copy(),
            "cosines": None if self.cosines is None else self.cosines.copy(),
            "rounds": [dict(vars(done)) for done in self.rounds],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict` of one that was made with the same arguments."""
        for client, own in zip(self.clients, state["clients"], strict=True):
            client.load_state_dict(own)
        for replay, own in zip(self.replays, state["replays"], strict=True):
            replay.load_state_dict(own)
        self._best, self._random = np.array(state["best"]), np.array(state["random"])
        self.cosines = None if state["cosines"] is None else np.array(state["cosines"])
        self.rounds = [CollaborativeRound(**done) for done in state["rounds"]]
