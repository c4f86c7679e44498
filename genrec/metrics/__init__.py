"""Metrics: ranking accuracy, calibration, significance, Pareto fronts; the context of lists."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
