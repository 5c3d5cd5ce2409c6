"""Other exploration methods in the same loop, replay and budget as CDER, one file each; see docs/baselines.md."""
