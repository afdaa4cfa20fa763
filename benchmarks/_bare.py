"""The path of a photo without a server: bytes, decode, encode, search, in as many threads as the server has workers.

    python benchmarks/_bare.py --index DIR --seconds 10 PHOTO...

Waits for a line on standard input before each measurement, so that runs can take turns; ends with standard input.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from oclear.runtime import prepare_process

prepare_process()

import torch  # noqa: E402

from oclear.serving.config import EncoderConfig  # noqa: E402
from oclear.serving.encoder import make_encoder  # noqa: E402
from oclear.serving.index_folder import IndexFolder  # noqa: E402
from oclear.serving.photos import Photo, to_pixels  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("photos", type=Path, nargs="+")
    options = parser.parse_args()
    photos = [Photo(path.read_bytes()) for path in options.photos]
    torch.set_num_threads(1)
    model, store = IndexFolder(options.index).load()
    encode = make_encoder(model, EncoderConfig())

    def one(photo: Photo) -> None:
        pixels = to_pixels(photo, model.preprocessing, 50_000_000)
        store.search(encode(pixels[None]), 10)

    def work(number: int) -> int:
        done = 0
        for photo in itertools.cycle(photos[number:] + photos[:number]):
            one(photo)
            done += 1
            if time.perf_counter() > end:
                return done
        return done

    one(photos[0])
    print(json.dumps({"ready": encode.name}), flush=True)
    with ThreadPoolExecutor(encode.workers) as pool:
        for _ in sys.stdin:
            began = time.perf_counter()
            end = began + options.seconds
            done = sum(pool.map(work, range(encode.workers)))
            print(json.dumps({"per_second": done / (time.perf_counter() - began)}), flush=True)


if __name__ == "__main__":
    main()
