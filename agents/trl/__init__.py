"""GRPO of TRL around a GPTRec (extra ``trl``)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
