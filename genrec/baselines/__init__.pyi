from .als import ALS as ALS
from .association_rules import AssociationRules as AssociationRules
from .bpr import BPR as BPR
from .fpmc import FPMC as FPMC
from .item_knn import ItemKNN as ItemKNN
from .markov import Markov as Markov
from .popularity import Popularity as Popularity
from .user_knn import UserKNN as UserKNN
