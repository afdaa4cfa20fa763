"""Nearest rows, approximately: inverted lists of 4-bit product codes, by FAISS.

Chosen by measurement: 200,000 vectors x 256 of a low-rank mixture, one query a call in one thread, bare calls without
what the index adds, on two AVX-512 cores that had other work too (so read the differences, not the digits).
"Scored again" means the best candidates, from float32.

=========================================  ======  ===========  ========
structure                                  recall  queries / s  built in
=========================================  ======  ===========  ========
inverted lists, 4-bit codes, scored again   0.991        9,200       9 s
FAISS HNSW, 32 links, float16               0.992        9,200      61 s
FAISS HNSW, 32 links, float32               0.992        7,200      60 s
FAISS HNSW, 32 links, 8-bit                 0.990        7,100      64 s
USearch, 32 links, bf16                     0.989        3,900      94 s
inverted lists, 1-bit (RaBitQ)              0.991        3,600      17 s
inverted lists, 8-bit                       0.993        2,300      22 s
all rows, 4-bit codes, scored again         1.000        2,950       1 s
all rows, 8-bit, scored again               1.000          280       0 s
all rows, float32 / bf16                    1.000     108 / 59       0 s
=========================================  ======  ===========  ========

Choosing lists by codes of their centres, added since, takes a third off the first line. The lists also win where it
matters as much: a restart builds them, so seconds count; they take new rows without being built again, and search
under a mask of rows without losing their way, as graphs do. ``benchmarks/search.py`` measures the whole search call
beside FAISS HNSW at full size. Codes are scanned in registers (André et al., "Quicker ADC", 2018).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

# The usual four times the root of the rows, and how many of them teach each list.
_LISTS_PER_ROOT = 4
_ROWS_PER_LIST = 40
_ROUNDS = 6
_BLOCK = 100_000
# Stored vectors, as queries, must find this share of their neighbours. Photos lie farther off than items lie
# from each other, so it is above the 0.98 that a search should find.
_SAMPLE_RECALL = 0.99
_SAMPLE = 256
_NEIGHBOURS = 10
# Tried in turn: how many candidates are scored again for ten neighbours, and how many lists are looked into. The
# codes alone, with all lists, may cost half of what may be missed.
_DEPTHS = (100, 200, 400, 800)
_CODES_RECALL = 0.995
_FEWEST, _STEP = 8, 1.25


@dataclass(frozen=True)
class Accelerator:
    """Inverted lists over the first rows of a matrix of unit vectors.

    Attributes:
        index: FAISS's lists; never changed once they are here.
        centres: The lists' centres as 4-bit codes, by which ``index`` chooses lists (and which it does not keep
            alive): at 4,000 lists three times as quick as comparing with the centres themselves, and it changes
            which lists are chosen hardly at all.
        rows: How many rows the lists cover.
        trained_on: How many rows there were when the lists were learned.
        probes: Lists that one query looks into.
        depth: Candidates that are scored again where ten items are wanted.
    """

    index: Any
    centres: Any
    rows: int
    trained_on: int
    probes: int
    depth: int

    @classmethod
    def build(cls, vectors: npt.NDArray[np.float32]) -> Accelerator:
        """Learn lists and codes from these rows, and put them in.

        Args:
            vectors: ``(N, dim)`` float32 of length 1; N large enough to be worth it (20,000).
        """
        import faiss

        rows, dim = vectors.shape
        lists = int(_LISTS_PER_ROOT * math.sqrt(rows))
        codes = dim // 2 if dim % 2 == 0 else dim
        sample = vectors[
            np.sort(np.random.default_rng(0).permutation(rows)[: lists * _ROWS_PER_LIST])
        ]
        # FAISS warns where it would like more rows for each list; measured, it needs no more.
        clusters = faiss.Kmeans(
            dim, lists, niter=_ROUNDS, spherical=True, min_points_per_centroid=1
        )
        clusters.train(sample)
        centroids = np.asarray(clusters.centroids)
        flat = faiss.IndexFlatIP(dim)
        flat.add(centroids)
        index = faiss.IndexIVFPQFastScan(flat, dim, lists, codes, 4, faiss.METRIC_INNER_PRODUCT)
        centres = faiss.IndexPQFastScan(dim, codes, 4, faiss.METRIC_INNER_PRODUCT)
        with _one_thread():
            for codec, learned_from in ((index, sample), (centres, centroids)):
                codec.pq.cp.min_points_per_centroid = 1
                codec.train(learned_from)
        centres.add(centroids)
        _add(index, vectors)
        index.quantizer = centres
        return _calibrated(cls(index, centres, rows, rows, lists, _DEPTHS[-1]), vectors)

    def extended(self, vectors: npt.NDArray[np.float32]) -> Accelerator:
        """Another one that covers all of these rows, of which the first are those it covers already."""
        import faiss

        index = faiss.clone_index(self.index)
        _add(index, vectors[self.rows :])
        return replace(self, index=index, rows=len(vectors))

    def candidates(
        self,
        queries: npt.NDArray[np.float32],
        k: int,
        passing: npt.NDArray[np.uint8] | None = None,
        share: float = 1.0,
    ) -> npt.NDArray[np.int64]:
        """Rows among which the nearest probably are.

        Args:
            queries: ``(Q, dim)``.
            k: How many items are wanted.
            passing: One bit per row, little end first, of the rows that may be found; None for all.
            share: Which share of the rows that is. The fewer, the more lists are looked into.

        Returns:
            ``(Q, n)``, n several times k; -1 where the lists looked into hold no more.
        """
        import faiss

        count = max(self.depth, math.ceil(self.depth * k / _NEIGHBOURS))
        probes = min(self.index.nlist, math.ceil(self.probes * share**-0.75))
        parameters = _look_into(probes)
        if passing is not None:
            parameters = faiss.SearchParametersIVF(nprobe=probes)  # type: ignore[call-arg]
            # Named, because FAISS does not keep it alive.
            selector = faiss.IDSelectorBitmap(self.rows, faiss.swig_ptr(passing))
            parameters.sel = selector
        scores = np.empty((len(queries), count), np.float32)
        found = np.empty((len(queries), count), np.int64)
        self.index.search_c(
            len(queries),
            faiss.swig_ptr(queries),
            count,
            faiss.swig_ptr(scores),
            faiss.swig_ptr(found),
            parameters,
        )
        return found


def nearest_among(
    query: npt.NDArray[np.float32],
    vectors: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int64],
    count: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """The ``count`` rows of these with the largest dot product, largest first, and the products.

    Exact, without copying the vectors, and without the interpreter's lock, which a second searching thread would wait
    for. Equal vectors have equal products wherever they lie. For 10,000 of 200,000 rows of 256 numbers: 1.7 ms,
    against 11 with ``vectors[rows] @ query``.
    """
    import faiss

    count = min(count, len(rows))
    scores, found = np.empty((1, count), np.float32), np.empty((1, count), np.int64)
    faiss.knn_inner_products_by_idx(  # type: ignore[attr-defined]  # missing in the stubs
        faiss.swig_ptr(np.ascontiguousarray(query)),
        faiss.swig_ptr(vectors),
        faiss.swig_ptr(rows),
        vectors.shape[1],
        1,
        len(vectors),
        len(rows),
        count,
        faiss.swig_ptr(scores),
        faiss.swig_ptr(found),
    )
    return found[0], scores[0]


@lru_cache
def _look_into(probes: int) -> Any:
    """FAISS's parameters of a search without a filter, which any number of threads read.

    To make them takes and gives back the interpreter's lock again and again: two threads that made their own for each
    search were no quicker than one, and are twice as quick with these.
    """
    import faiss

    return faiss.SearchParametersIVF(nprobe=probes)  # type: ignore[call-arg]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Codes are learned in a second by one thread; more wait for each other thousands of times.

    Where the processors have other work, that waiting took minutes.
    """
    import faiss

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)


def _add(index: Any, vectors: npt.NDArray[np.float32]) -> None:
    for start in range(0, len(vectors), _BLOCK):
        index.add(np.ascontiguousarray(vectors[start : start + _BLOCK]))


def _calibrated(built: Accelerator, vectors: npt.NDArray[np.float32]) -> Accelerator:
    """With the fewest candidates, and then the fewest lists, that find enough neighbours of stored vectors."""
    import faiss

    sample = np.random.default_rng(1).permutation(len(vectors))[:_SAMPLE]
    queries = vectors[sample]
    wanted = faiss.knn(queries, vectors, _NEIGHBOURS + 1, metric=faiss.METRIC_INNER_PRODUCT)[1]
    # A vector finds itself in any case, so it counts for nothing.
    neighbours = [
        set(right) - {own} for right, own in zip(wanted.tolist(), sample.tolist(), strict=True)
    ]

    def recall(tried: Accelerator) -> float:
        found = tried.candidates(queries, _NEIGHBOURS).tolist()
        shares = [
            len(right & set(got)) / len(right) for right, got in zip(neighbours, found, strict=True)
        ]
        return float(np.mean(shares))

    tries = [replace(built, depth=depth) for depth in _DEPTHS]
    chosen = next((tried for tried in tries if recall(tried) >= _CODES_RECALL), tries[-1])
    probes = _FEWEST
    while probes < built.index.nlist:
        chosen = replace(chosen, probes=probes)
        if recall(chosen) >= _SAMPLE_RECALL:
            return chosen
        probes = math.ceil(probes * _STEP)
    return replace(chosen, probes=built.index.nlist)
