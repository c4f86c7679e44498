"""Tables, pictures and pages of a comparison. Reads what a run left in its folder; never loads a model."""

from genrec.report.pages import page
from genrec.report.pictures import plot, plot_reliability
from genrec.report.rows import Comparison, Row, hypervolumes, read
from genrec.report.tables import sentences, table

__all__ = ["Comparison", "Row", "hypervolumes", "page", "plot", "plot_reliability", "read", "sentences", "table"]
