"""Tables, pictures and pages of a comparison; reads results and never loads a model."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
