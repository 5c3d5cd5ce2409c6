"""CDER in one file: the preset `corrected` on DeepSea, on this package's replay and vector environments.

The library's agent (`metarl train cder`) does the same with every switch; docs/cder.md explains the seven steps.
python examples/cder_single_file.py [size] [seed] [episodes]
"""

import copy
import sys

import numpy as np
import torch

import metarl_core as mc

SIZE, SEED, EPISODES = (int(given) for given in (*sys.argv[1:], *(8, 0, 2500)[len(sys.argv) - 1 :]))
NUM_ENVS, CAPACITY, BATCH, START, TRAIN_EVERY, EPOCHS = 4, 100_000, 128, 256, 8, 4
GAMMA, KAPPA, LR, TARGET_PERIOD = 0.99, 0.3, 2e-3, 5
HEADS, PRIOR, OPTIMISM = 10, 3.0, 2.0  # critic: heads, scale of their fixed priors, weight of their spread in acting
MEMBERS, SIGNAL_PRIOR, SLOW = 5, 1.0, 0.01  # signal: members, scale of their priors, share mixed into the slow copy
Z_MIN, Z_MAX, ATOMS = -0.25, 1.25, 31
TOTAL_STEPS = EPISODES * SIZE


class Ensemble(torch.nn.Module):
    """`count` perceptrons with one hidden layer, evaluated together: [B, D] -> [count, B, O]."""

    def __init__(self, count, inputs, outputs, active, width=32):
        super().__init__()
        shapes = [(inputs, width), (1, width), (width, outputs), (1, outputs)]
        fan_in = (active, active, width, width)
        self.parts = torch.nn.ParameterList(
            torch.empty(count, *shape).uniform_(-(n**-0.5), n**-0.5) for shape, n in zip(shapes, fan_in, strict=True)
        )

    def forward(self, x):
        """Evaluate every perceptron on the same input."""
        w1, b1, w2, b2 = self.parts
        return torch.relu(x.expand(len(w1), -1, -1) @ w1 + b1) @ w2 + b2


class WithPrior(torch.nn.Module):
    """A trained ensemble plus a fixed random one (Osband et al. 2018), and a target copy of the trained part."""

    def __init__(self, count, inputs, outputs, scale):
        super().__init__()
        # One input of a one-hot observation is active: a prior drawn for all of them would hardly tell states apart.
        self.online, self.prior = Ensemble(count, inputs, outputs, inputs), Ensemble(count, inputs, outputs, 1)
        self.target, self.scale = copy.deepcopy(self.online).requires_grad_(False), scale
        self.prior.requires_grad_(False)

    def forward(self, x, target=False):
        """Trained part, or its target copy, plus prior."""
        return (self.target if target else self.online)(x) + self.scale * self.prior(x)

    @torch.no_grad()
    def follow(self, share=1.0):
        """Move the target copy."""
        torch._foreach_lerp_(list(self.target.parameters()), list(self.online.parameters()), share)


torch.manual_seed(SEED)
torch.set_num_threads(1)
rng = np.random.default_rng(SEED)
envs = mc.make_vec("DeepSea-v0", NUM_ENVS, num_threads=1, autoreset_mode="same_step", seed=SEED, size=SIZE)
fields = {"obs": ((SIZE**2,), "f4"), "action": ((), "i8"), "reward": ((), "f4"), "next_obs": ((SIZE**2,), "f4")}
fields |= {"terminated": ((), "?")}
replay = mc.PrioritizedReplayBuffer(
    CAPACITY, fields, alpha=0.6, eps=1e-3, max_priority=1e3, weight_normalization="sum", seed=SEED
)
critic, signal = WithPrior(HEADS, SIZE**2, 2, PRIOR), WithPrior(MEMBERS, SIZE**2, ATOMS, SIGNAL_PRIOR)
optimizer = torch.optim.Adam([*critic.online.parameters(), *signal.online.parameters()], lr=LR)
atoms = torch.linspace(Z_MIN, Z_MAX, ATOMS)


def learn(beta):
    batch = replay.sample(BATCH, beta=beta)
    obs, action, reward, next_obs, terminated = (torch.from_numpy(batch[name]) for name in fields)
    weights, alive = torch.from_numpy(batch.weights).float(), 1.0 - terminated.float()
    with torch.no_grad():
        # Step 1: the slow signal's expected returns Phi_e; their spread over members is the curiosity beta.
        phi, next_phi = (torch.softmax(signal(x, target=True), dim=2) @ atoms for x in (obs, next_obs))
        beta_next = next_phi.std(dim=0, correction=0) * alive
        # Step 2: potential-based shaping plus the bonus. Step 3: the return that the signal learns, one step.
        shaped = reward + GAMMA * alive * next_phi.mean(dim=0) - phi.mean(dim=0) + KAPPA * beta_next
        returns = reward + GAMMA * alive * next_phi
        # Step 4: double-Q target of each head.
        best = critic(next_obs).argmax(dim=2, keepdim=True)
        target = shaped + GAMMA * alive * critic(next_obs, target=True).gather(2, best).squeeze(2)
        place = ((returns - Z_MIN) * (ATOMS - 1) / (Z_MAX - Z_MIN)).clamp(0, ATOMS - 1)
        two_hot = (1 - (place.unsqueeze(2) - torch.arange(ATOMS)).abs()).clamp(min=0)
    # Step 5: weighted squared errors of all heads, and the signal's weighted cross-entropy.
    taken = critic(obs).gather(2, action.view(1, -1, 1).expand(HEADS, -1, 1)).squeeze(2)
    delta = taken - target
    loss = (weights * delta.square()).sum()
    loss = loss - (weights * (two_hot * torch.log_softmax(signal(obs), dim=2)).sum(dim=2)).sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    signal.follow(SLOW)
    replay.update_priorities(batch, delta.detach().abs().mean(dim=0).numpy())


obs = envs.reset(seed=SEED)[0].reshape(NUM_ENVS, -1)
heads = rng.integers(HEADS, size=NUM_ENVS)
step = updates = episodes = bad = 0
solved = None
while solved is None and episodes < EPISODES:
    # Step 6: the candidate action is executed; each instance follows one head for a whole episode (Thompson sampling),
    # with optimism where the heads differ.
    with torch.no_grad():
        q = critic(torch.from_numpy(obs))
        action = (q[heads, np.arange(NUM_ENVS)] + OPTIMISM * q.std(dim=0, correction=0)).argmax(dim=1).numpy()
    raw, reward, terminated, _, _ = envs.step(action)
    following = raw.reshape(NUM_ENVS, -1)
    # In same-step mode `following` of a finished episode is the next one's first observation; DeepSea's last is zero.
    last = np.where(terminated[:, None], np.float32(0), following)
    replay.add(obs=obs, action=action, reward=reward.astype("f4"), next_obs=last, terminated=terminated)
    obs, step = following.copy(), step + NUM_ENVS
    for env in np.flatnonzero(terminated):
        episodes, bad = episodes + 1, bad + bool(envs.bad_episode()[env])
        if solved is None and bad / episodes < 0.9:  # bsuite's rule
            solved = episodes
    heads[terminated] = rng.integers(HEADS, size=int(terminated.sum()))
    # Step 7: K epochs of prioritized batches with priorities that the one before has refreshed.
    if step >= START:
        for _ in range(EPOCHS * NUM_ENVS // TRAIN_EVERY):
            learn(0.4 + 0.6 * min(step / TOTAL_STEPS, 1.0))
            updates += 1
            if updates % TARGET_PERIOD == 0:
                critic.follow()
envs.close()
print(f"size {SIZE}, seed {SEED}: " + (f"solved after {solved} episodes" if solved else f"not solved in {episodes}"))
