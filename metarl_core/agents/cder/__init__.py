"""CDER: curiosity-driven exploration with prioritized replay."""
