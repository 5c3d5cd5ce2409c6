"""Buffers on a GPU beside the CPU's."""

import numpy as np

from metarl_core import PrioritizedReplayBuffer


def pair(capacity, fields, **options):
    gpu = PrioritizedReplayBuffer(capacity, fields, device="cuda", **options)
    return gpu, PrioritizedReplayBuffer(capacity, fields, **options)


def to_gpu(batch):
    import torch

    return {name: torch.from_numpy(value).cuda() for name, value in batch.items()}


def assert_same_batch(gpu, cpu):
    assert list(gpu) == list(cpu)
    for name, tensor in gpu.torch().items():
        found = tensor.cpu().numpy()
        assert found.dtype == cpu[name].dtype
        np.testing.assert_array_equal(found, cpu[name], err_msg=name)
