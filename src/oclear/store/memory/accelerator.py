"""Nearest rows, approximately: inverted lists of 4-bit product codes, by FAISS.

Chosen by measurement on two cores (AVX-512), 200,000 vectors x 256 of a low-rank mixture, one query a call, at a
recall@10 of 0.99 (``benchmarks/search.py`` measures it against HNSW at full size):

=====================================  ========  =======  ===================================
structure                              queries/s  built in  beside the vectors
=====================================  ========  =======  ===================================
inverted lists, 4-bit codes, re-ranked     9,200      9 s  dim / 4 bytes a row (64)
FAISS HNSW, 32 links, float32              7,200     60 s  264 bytes a row
FAISS HNSW, 32 links, 8-bit                7,100     64 s  264 bytes a row
inverted lists, 8-bit, re-ranked           2,300     22 s  dim bytes a row
inverted lists, 1-bit (RaBitQ)             3,100     17 s  dim / 8 bytes a row and more
USearch, 32 links, bf16                    3,900     94 s  as HNSW
=====================================  ========  =======  ===================================

The lists win by more where it matters as much: they are built in seconds (a restart builds them), take rows
without being built again, and search under a mask of rows without losing their way, which graphs do. Codes
are scanned in registers (André et al., "Quicker ADC", 2018); the best are scored again from float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
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
_STEP = 1.25


@dataclass(frozen=True)
class Accelerator:
    """Inverted lists over the first rows of a matrix of unit vectors.

    Attributes:
        index: FAISS's; never changed once it is here.
        rows: How many rows it covers.
        trained_on: How many rows there were when the lists were learned.
        probes: Lists that one query looks into.
    """

    index: Any
    rows: int
    trained_on: int
    probes: int

    @classmethod
    def build(cls, vectors: npt.NDArray[np.float32]) -> Accelerator:
        """Learn lists and codes from these rows, and put them in.

        Args:
            vectors: ``(N, dim)`` float32 of length 1; N large enough to be worth it (20,000).
        """
        import faiss

        rows, dim = vectors.shape
        lists = int(_LISTS_PER_ROOT * math.sqrt(rows))
        numbers_per_code = 2 if dim % 2 == 0 else 1
        index = faiss.index_factory(
            dim, f"IVF{lists},PQ{dim // numbers_per_code}x4fs", faiss.METRIC_INNER_PRODUCT
        )
        sample = np.random.default_rng(0).permutation(rows)[: lists * _ROWS_PER_LIST]
        _train(index, vectors[np.sort(sample)])
        _add(index, vectors)
        return cls(index, rows, rows, _probes_needed(index, vectors))

    def extended(self, vectors: npt.NDArray[np.float32]) -> Accelerator:
        """Another one that covers all of these rows, of which the first are those it covers already."""
        import faiss

        index = faiss.clone_index(self.index)
        _add(index, vectors[self.rows :])
        return Accelerator(index, len(vectors), self.trained_on, self.probes)

    def candidates(
        self,
        queries: npt.NDArray[np.float32],
        count: int,
        passing: npt.NDArray[np.uint8] | None,
        share: float,
    ) -> npt.NDArray[np.int64]:
        """Rows that are probably the nearest.

        Args:
            queries: ``(Q, dim)``.
            count: How many.
            passing: One bit per row, little end first, of the rows that may be found; None for all.
            share: Which share of the rows that is. The fewer, the more lists are looked into.

        Returns:
            ``(Q, count)``; -1 where the lists looked into hold no more.
        """
        import faiss

        lists = self.index.nlist
        probes = min(lists, math.ceil(self.probes * share**-0.75))
        options: dict[str, Any] = {"nprobe": probes}
        if passing is not None:
            options["sel"] = faiss.IDSelectorBitmap(self.rows, faiss.swig_ptr(passing))
        parameters = faiss.SearchParametersIVF(**options)
        found: npt.NDArray[np.int64] = self.index.search(queries, count, params=parameters)[1]
        return found

    def size(self) -> int:
        """Bytes beside the vectors: codes, row numbers and list centres."""
        code = (self.index.d // 2 if self.index.d % 2 == 0 else self.index.d) // 2
        return int(self.rows * (code + 8) + self.index.nlist * self.index.d * 4)


def nearest_among(
    query: npt.NDArray[np.float32],
    vectors: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int64],
    count: int,
) -> npt.NDArray[np.int64]:
    """The ``count`` rows of these with the largest dot product, exactly; without copying their vectors.

    For 10,000 of 200,000 rows of 256 numbers: 1.7 ms, against 11 with ``vectors[rows] @ query``.
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
    rows_found: npt.NDArray[np.int64] = found[0]
    return rows_found


def _train(index: Any, vectors: npt.NDArray[np.float32]) -> None:
    import faiss

    # FAISS warns where it would like more rows for each list; measured, it needs no more.
    lists = faiss.Kmeans(
        index.d, index.nlist, niter=_ROUNDS, spherical=True, min_points_per_centroid=1
    )
    lists.train(vectors)
    index.quantizer.add(lists.centroids)
    index.pq.cp.min_points_per_centroid = 1
    # The codes take a second in one thread. More threads wait for each other thousands of times, which takes
    # minutes where the processors have other work.
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        index.train(vectors)
    finally:
        faiss.omp_set_num_threads(threads)


def _add(index: Any, vectors: npt.NDArray[np.float32]) -> None:
    for start in range(0, len(vectors), _BLOCK):
        index.add(np.ascontiguousarray(vectors[start : start + _BLOCK]))


def _probes_needed(index: Any, vectors: npt.NDArray[np.float32]) -> int:
    """The fewest lists, a quarter more at a time, in which stored vectors find enough of their exact neighbours."""
    import faiss

    sample = np.random.default_rng(1).permutation(len(vectors))[:_SAMPLE]
    queries = vectors[sample]
    wanted = faiss.knn(queries, vectors, _NEIGHBOURS + 1, metric=faiss.METRIC_INNER_PRODUCT)[1]
    probes = 8
    while probes < index.nlist:
        parameters = faiss.SearchParametersIVF(nprobe=probes)  # type: ignore[call-arg]
        found = index.search(queries, 10 * _NEIGHBOURS, params=parameters)[1]
        # A vector finds itself in any case, so it counts for nothing.
        shares = [
            len((set(right) - {own}) & set(got)) / len(set(right) - {own})
            for right, got, own in zip(
                wanted.tolist(), found.tolist(), sample.tolist(), strict=True
            )
        ]
        if np.mean(shares) >= _SAMPLE_RECALL:
            return probes
        probes = math.ceil(probes * _STEP)
    return int(index.nlist)
