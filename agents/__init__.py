"""GPTRec and its trainers: distillation, PPO, MaskablePPO (stable-baselines3) and GRPO (TRL)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
