"""Potential-based shaping keeps the optimal policy; the reward without gamma does not. On tabular MDPs, float64."""

import numpy as np
import pytest
import torch

from metarl_core.agents.cder.signal import stored_reward

GAMMA = 0.9
FORMS = ("corrected", "intended", "as_written")


def random_mdp(seed, states=7, actions=3):
    """Transition probabilities [S, A, S], rewards [S, A, S], which states are terminal [S]."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(states, 0.3), size=(states, actions))
    terminal = np.zeros(states, dtype=bool)
    terminal[-1] = True
    return p, rng.normal(size=(states, actions, states)), terminal


def shaped(form, reward, phi, bonus, terminal, kappa):
    """The agent's own function on every (s, a, s')."""
    n = len(phi)
    grid = [np.broadcast_to(x, reward.shape) for x in (phi[:, None, None], phi, bonus, GAMMA * ~terminal)]
    flat = [torch.from_numpy(np.array(x, dtype=np.float64).reshape(-1)) for x in (reward, *grid)]
    r, now, following, beta, discount = flat
    if form == "corrected":
        beta = beta * (discount > 0)
    return stored_reward(form, r, discount, now, following, beta, kappa).numpy().reshape(n, -1, n)


def optimal(p, reward, terminal):
    """Q* by value iteration, [S, A]."""
    q = np.zeros(p.shape[:2])
    for _ in range(2000):
        value = np.where(terminal, 0.0, q.max(axis=1))
        q = (p * (reward + GAMMA * value)).sum(axis=2)
    return q


def policies(q, terminal):
    return q.argmax(axis=1)[~terminal].tolist()


@pytest.mark.parametrize("seed", range(20))
def test_corrected_without_bonus_has_the_same_optimal_policy_and_moves_q_by_phi(seed):
    p, reward, terminal = random_mdp(seed)
    phi = 3 * np.random.default_rng(100 + seed).normal(size=len(terminal))
    bonus = np.random.default_rng(200 + seed).random(len(terminal))
    plain = optimal(p, reward, terminal)
    got = optimal(p, shaped("corrected", reward, phi, bonus, terminal, kappa=0.0), terminal)
    assert policies(got, terminal) == policies(plain, terminal)
    # Ng, Harada & Russell 1999, corollary 2: Q* of the shaped MDP is Q* - Phi(s).
    np.testing.assert_allclose(got[~terminal], (plain - phi[:, None])[~terminal], atol=1e-9)


def test_a_bonus_may_change_the_policy():
    """With kappa > 0 nothing is promised: the bonus is paid for."""
    changed = 0
    for seed in range(20):
        p, reward, terminal = random_mdp(seed)
        bonus = np.random.default_rng(200 + seed).random(len(terminal))
        plain = optimal(p, reward, terminal)
        got = optimal(p, shaped("corrected", reward, 0 * bonus, bonus, terminal, kappa=3.0), terminal)
        changed += policies(got, terminal) != policies(plain, terminal)
    assert changed >= 10


@pytest.mark.parametrize("with_reward", [False, True])
def test_without_gamma_the_optimal_policy_is_lost(with_reward):
    """The form `intended`, also with the environment's reward put back in, leaks (1 - gamma) Phi(s') into each step."""
    changed = 0
    for seed in range(20):
        p, reward, terminal = random_mdp(seed)
        phi = 3 * np.random.default_rng(100 + seed).normal(size=len(terminal))
        r = shaped("intended", reward, phi, 0 * phi, terminal, kappa=0.0) + with_reward * reward
        changed += policies(optimal(p, r, terminal), terminal) != policies(optimal(p, reward, terminal), terminal)
    assert changed >= 10


def test_a_chain_where_the_leak_makes_the_agent_stay_for_ever():
    """Two states and an end: `go` earns 1 and ends, `stay` earns nothing. A high Phi turns `intended` to stay."""
    p = np.zeros((2, 2, 2))
    p[0, 0, 0] = p[0, 1, 1] = p[1, :, 1] = 1  # action 0 stays, action 1 goes to the terminal state 1
    reward = np.zeros((2, 2, 2))
    reward[0, 1, 1] = 1.0
    terminal, phi, none = np.array([False, True]), np.array([30.0, 0.0]), np.zeros(2)
    assert optimal(p, reward, terminal)[0].argmax() == 1
    assert optimal(p, shaped("corrected", reward, phi, none, terminal, 0.0), terminal)[0].argmax() == 1
    leaking = shaped("intended", reward, phi, none, terminal, 0.0) + reward
    assert optimal(p, leaking, terminal)[0].argmax() == 0


def test_as_written_knows_no_reward_at_all():
    _, reward, terminal = random_mdp(0)
    bonus = np.random.default_rng(1).random(len(terminal))
    one = shaped("as_written", reward, bonus, bonus, terminal, 1.0)
    other = shaped("as_written", -5 * reward, 3 * bonus, bonus, terminal, 1.0)
    np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(one, np.broadcast_to(bonus, one.shape))
