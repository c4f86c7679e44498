from .association_rules import AssociationRules as AssociationRules
from .fpmc import FPMC as FPMC
from .item_knn import ItemKNN as ItemKNN
from .markov import Markov as Markov
from .mf import ALS as ALS
from .mf import BPR as BPR
from .popularity import Popularity as Popularity
from .user_knn import UserKNN as UserKNN
