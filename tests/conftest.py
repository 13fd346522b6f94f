"""Settings of the whole test run."""

from __future__ import annotations

import torch

# The tensors of the tests are tiny: handing them between threads costs four times the work itself.
torch.set_num_threads(1)
