"""Teachers, list generation and alignment for sequential recommendation."""

import lazy_loader

__version__ = "0.2.0.dev0"
__getattr__, __dir__, _exported = lazy_loader.attach_stub(__name__, __file__)
__all__ = ["__version__", *_exported]
