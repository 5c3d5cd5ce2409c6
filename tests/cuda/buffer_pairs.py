"""Buffers on a GPU beside the CPU's."""

from metarl_core import PrioritizedReplayBuffer


def pair(capacity, fields, **options):
    gpu = PrioritizedReplayBuffer(capacity, fields, device="cuda", **options)
    return gpu, PrioritizedReplayBuffer(capacity, fields, **options)


def to_gpu(batch):
    import torch

    return {name: torch.from_numpy(value).cuda() for name, value in batch.items()}
