from .conditioning import Conditioning as Conditioning
from .decoding import NextK as NextK
from .decoding import beam as beam
from .decoding import sample as sample
from .initialization import initialize_from_teacher as initialize_from_teacher
from .model import GPTRec as GPTRec
