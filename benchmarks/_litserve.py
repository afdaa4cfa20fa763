"""The same model and index behind LitServe, to stand beside ours.

python benchmarks/_litserve.py --index DIR --port 8000 --workers 2
"""

import argparse
from pathlib import Path
from typing import Any

import litserve
from fastapi import UploadFile

from oclear.runtime import prepare_process


class PhotoSearch(litserve.LitAPI):
    """Bytes, decode, encode, search."""

    def __init__(self, index: Path) -> None:
        super().__init__()
        self._index = index

    def setup(self, device: str) -> None:
        import torch

        from oclear.serving.config import EncoderConfig
        from oclear.serving.encoder import make_encoder
        from oclear.serving.index_folder import IndexFolder

        torch.set_num_threads(1)
        self._model, self._store = IndexFolder(self._index).load()
        self._encode = make_encoder(self._model, EncoderConfig(workers=1))

    def decode_request(self, request: UploadFile) -> Any:
        from oclear.serving.photos import Photo, to_pixels

        data = request.file.read()
        return to_pixels(Photo(data), self._model.preprocessing, 50_000_000)

    def predict(self, pixels: Any) -> Any:
        (hits,) = self._store.search(self._encode(pixels[None]), 10)
        return [{"item_id": hit.item_id, "score": hit.score} for hit in hits]

    def encode_response(self, output: Any) -> Any:
        return {"hits": output}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    options = parser.parse_args()
    prepare_process()
    server = litserve.LitServer(
        PhotoSearch(options.index), accelerator="cpu", workers_per_device=options.workers
    )
    server.run(port=options.port, host="127.0.0.1", generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
