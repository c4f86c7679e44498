"""An aligned policy against its teacher, its student, baselines and re-rankers over grids of weights."""

from genrec.comparison.areas import areas, compare_fronts
from genrec.comparison.curves import gaps, gaps_along
from genrec.comparison.entrants import Entrant
from genrec.comparison.measurement import compare, compare_runs
from genrec.comparison.movement import moved

__all__ = ["Entrant", "areas", "compare", "compare_fronts", "compare_runs", "gaps", "gaps_along", "moved"]
