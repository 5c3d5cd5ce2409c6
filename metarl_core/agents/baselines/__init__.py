"""Double DQN with and without prioritized replay."""
