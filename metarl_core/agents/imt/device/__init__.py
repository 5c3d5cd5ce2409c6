"""The half of IMT for environments and replay in a GPU's memory."""
