from .evaluations import evaluation_sentences as evaluation_sentences
from .evaluations import evaluation_table as evaluation_table
from .pages import page as page
from .pictures import plot as plot
from .pictures import plot_calibration as plot_calibration
from .rows import hypervolumes as hypervolumes
from .tables import sentences as sentences
from .tables import table as table
