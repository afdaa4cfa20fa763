"""Encoding whole tables: pictures are decoded in threads, what cannot be read is skipped and listed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from oclear.errors import BadImageError
from oclear.model.text_encoder import TextFeatures, Tokens
from oclear.model.two_tower import TwoTowerModel
from oclear.tables import Items, Pictures, SkippedImages

Progress = Callable[[int], None]

BATCH_SIZE = 32
_BATCHES_AHEAD = 3


def pixel_batches(
    pictures: Pictures,
    order: NDArray[np.int64],
    load: Callable[[Pictures, int], torch.Tensor],
    batch_size: int = BATCH_SIZE,
    skipped: SkippedImages | None = None,
) -> Iterator[tuple[NDArray[np.int64], torch.Tensor]]:
    """Loads pictures in batches, a few batches ahead of their use.

    Args:
        pictures: All pictures of a side.
        order: (n,) indices of the pictures wanted.
        load: Makes pixels (3, S, S) of one picture; runs in threads.
        batch_size: Pictures in a batch.
        skipped: Collects the pictures that cannot be decoded.

    Yields:
        The indices that could be read and their pixels (b, 3, S, S); batches without any are left out.

    Raises:
        BadImageError: A picture cannot be decoded and there is no ``skipped``.
    """
    threads = max(2, torch.get_num_threads())
    # Threads, not processes: Pillow decodes outside the interpreter lock, and nothing has to be copied.
    with ThreadPoolExecutor(threads) as pool:
        starts = iter(range(0, len(order), batch_size))
        queue: deque[list[tuple[int, Future[torch.Tensor]]]] = deque()

        def submit() -> None:
            start = next(starts, None)
            if start is not None:
                rows = order[start : start + batch_size].tolist()
                queue.append([(row, pool.submit(load, pictures, row)) for row in rows])

        for _ in range(_BATCHES_AHEAD):
            submit()
        while queue:
            batch = queue.popleft()
            submit()
            rows, pixels = [], []
            for row, future in batch:
                try:
                    pixels.append(future.result())
                    rows.append(row)
                except BadImageError as error:
                    if skipped is None:
                        raise
                    key, part = str(pictures.keys[row]), int(pictures.parts[row])
                    skipped.add(pictures.side, key, part, pictures.source(row), error.reason)
            if rows:
                yield np.array(rows), torch.stack(pixels)


def load_plain(model: TwoTowerModel) -> Callable[[Pictures, int], torch.Tensor]:
    """How a picture becomes pixels outside training: decoded, fitted, nothing else."""
    preprocessing = model.preprocessing

    def load(pictures: Pictures, row: int) -> torch.Tensor:
        return preprocessing(pictures.load(row, target_size=preprocessing.size))

    return load


def text_batches(
    model: TwoTowerModel, texts: Sequence[str], batch_size: int = BATCH_SIZE
) -> Iterator[tuple[NDArray[np.int64], TextFeatures]]:
    """Token features of texts, texts of like length together so that little padding is computed.

    Which texts are computed together does not depend on their order: what stands beside a text changes its last digits.

    Yields:
        Row numbers (b,) and their features.
    """
    if model.text_encoder is None:
        return
    order = np.array(sorted(range(len(texts)), key=lambda i: (len(texts[i]), texts[i])))
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        tokens = model.text_encoder.tokenize([texts[row] for row in rows])
        features = model.text_features(
            Tokens(tokens.ids.to(model.device), tokens.mask.to(model.device))
        )
        assert features is not None
        yield rows, features


@torch.inference_mode()
def encode_queries(
    model: TwoTowerModel,
    pictures: Pictures,
    skipped: SkippedImages,
    progress: Progress | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Embeds photos.

    Returns:
        Which pictures could be read, (n,), in order, and their embeddings (n, dim), normalised.
    """
    rows, vectors = [], []
    everything = np.arange(len(pictures))
    for batch, pixels in pixel_batches(pictures, everything, load_plain(model), skipped=skipped):
        features = model.image_features(pixels.to(model.device))
        vectors.append(model.embed_query(features.pooled).cpu().numpy())
        rows.append(batch)
        if progress:
            progress(len(batch))
    return _stacked(rows, vectors, model)


def is_text_alone(
    model: TwoTowerModel, pictures: Pictures, texts: Sequence[str]
) -> NDArray[np.bool_]:
    """Which entries of the pictures, (n,), stand for an item without any that is embedded by its text: one an item.

    Args:
        model: Not every one can (:attr:`TwoTowerModel.embeds_text_alone`).
        pictures: Of the items.
        texts: Of the items.
    """
    alone = np.array([model.embeds_text_alone and bool(text.strip()) for text in texts], bool)
    is_given = pictures.places >= 0
    is_bare = ~np.isin(pictures.rows, pictures.rows[is_given]) & (pictures.parts == 0)
    found: NDArray[np.bool_] = is_bare & alone[pictures.rows]
    return found


@torch.inference_mode()
def encode_documents(
    model: TwoTowerModel,
    items: Items,
    skipped: SkippedImages,
    progress: Progress | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Embeds documents: every picture of an item together with the item's text.

    An item that gives no picture is embedded by its text, where there is one and the model can
    (:attr:`TwoTowerModel.embeds_text_alone`); else it is among the skipped.

    Returns:
        Which of ``items.pictures()`` are embedded, (n,), in order, and their embeddings (n, dim), normalised.
    """
    pictures = items.pictures()
    texts = items.texts(model.text_columns_of(items.table.column_names))
    rows, vectors = [], []
    by_text = is_text_alone(model, pictures, texts)
    looked_at = np.flatnonzero(~by_text)
    for batch, pixels in pixel_batches(pictures, looked_at, load_plain(model), skipped=skipped):
        text = None
        if model.text_encoder is not None:
            tokens = model.text_encoder.tokenize([texts[i] for i in pictures.rows[batch]])
            text = model.text_features(
                Tokens(tokens.ids.to(model.device), tokens.mask.to(model.device))
            )
        features = model.image_features(pixels.to(model.device))
        vectors.append(model.embed_document(features, text).cpu().numpy())
        rows.append(batch)
        if progress:
            progress(len(batch))
    only_text = np.flatnonzero(by_text)
    for batch, text in text_batches(model, [texts[i] for i in pictures.rows[only_text]]):
        vectors.append(model.embed_text(text).cpu().numpy())
        rows.append(only_text[batch])
        if progress:
            progress(len(batch))
    return _stacked(rows, vectors, model)


def _stacked(
    rows: list[NDArray[np.int64]], vectors: list[NDArray[np.float32]], model: TwoTowerModel
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    if not rows:
        return np.empty(0, np.int64), np.empty((0, model.config.embedding_dim), np.float32)
    found = np.concatenate(rows)
    order = np.argsort(found, kind="stable")
    return found[order], np.concatenate(vectors)[order]
