"""Scorers without a neural network: they count, look for neighbours or factorise."""

from genrec.baselines.association_rules import AssociationRules
from genrec.baselines.fpmc import FPMC
from genrec.baselines.item_knn import ItemKNN
from genrec.baselines.markov import Markov
from genrec.baselines.mf import ALS, BPR
from genrec.baselines.popularity import Popularity
from genrec.baselines.user_knn import UserKNN

__all__ = ["ALS", "BPR", "FPMC", "AssociationRules", "ItemKNN", "Markov", "Popularity", "UserKNN"]
