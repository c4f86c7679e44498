from .conditioning import Conditioning as Conditioning
from .decoding import NextK as NextK
from .decoding import beam as beam
from .decoding import sample as sample
from .initialization import inherit as inherit
from .model import GPTRec as GPTRec
