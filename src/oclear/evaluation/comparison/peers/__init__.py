"""Methods that learn from clicked pairs, one a file; their losses are those of the libraries that people use."""

from oclear.evaluation.comparison.peers.arcface import ARCFACE
from oclear.evaluation.comparison.peers.clip import CLIP
from oclear.evaluation.comparison.peers.peer import Peer, require_libraries
from oclear.evaluation.comparison.peers.proxy_anchor import PROXY_ANCHOR
from oclear.evaluation.comparison.peers.sampled_softmax import SAMPLED_SOFTMAX
from oclear.evaluation.comparison.peers.triplet import TRIPLET

PEERS: tuple[Peer, ...] = (TRIPLET, CLIP, SAMPLED_SOFTMAX, ARCFACE, PROXY_ANCHOR)
"""In the order of the table."""

__all__ = ["PEERS", "Peer", "require_libraries"]
