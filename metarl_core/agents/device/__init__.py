"""Training with environments and replay in a GPU's memory, without a host copy between two looks of the host."""
