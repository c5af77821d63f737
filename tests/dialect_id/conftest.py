"""Networks this small are slower on several threads than on one, above all beside other work."""

import torch

torch.set_num_threads(1)
