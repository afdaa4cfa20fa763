"""A data folder of brand logos: the official drawing is the catalogue picture, other icon sets' are what photos show.

The drawings come from packages of icons (npm, ``@iconify-json/*``), which draw the same brand by different hands, in
colour or in one colour only. A photo is such a drawing printed in some colour on something, seen at an angle in some
light: simulated. A quarter of the brands have no training photo; all of their photos are in val and test, where they
are the greater part.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections import defaultdict
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageFilter

CATALOGUE = "logos"
DRAWN_BY = (
    "arcticons",
    "bxl",
    "cib",
    "devicon",
    "fa6-brands",
    "file-icons",
    "material-icon-theme",
    "simple-icons",
    "skill-icons",
    "token-branded",
    "vscode-icons",
)
_BRANDS = 500
_SHOTS = 2
_SIDE = 256
_DRAWING = 176
_VARIANTS = re.compile(r"-(icon|original|plain|line|dark|light|color|wordmark|clone|logo|alt)$")
_PREFIXES = re.compile(r"^(file-type|bxl|cib)-")

Drawings = dict[str, dict[str, str]]
"""An SVG picture by brand and set."""


def make_folder(packages: Path, out: Path, seed: int = 0) -> dict[str, int]:
    """Writes items, queries and their pictures; gives how many there are of each.

    Args:
        packages: Folder of the archives that ``npm pack @iconify-json/NAME`` leaves, one of each set.
        out: The folder to write.
        seed: Of splits and photos.
    """
    rng = np.random.default_rng(seed)
    known = _drawings(packages)
    enough = [b for b, drawings in known.items() if CATALOGUE in drawings and len(drawings) >= 3]
    chosen = rng.permutation(sorted(enough))[:_BRANDS].tolist()
    brands = {brand: known[brand] for brand in sorted(chosen)}
    (out / "images").mkdir(parents=True, exist_ok=True)
    items: list[dict[str, str]] = []
    queries: list[dict[str, str]] = []
    for brand, drawings in brands.items():
        official = _rendered(drawings.pop(CATALOGUE))
        if official is None:
            continue
        path = f"images/{brand}.png"
        canvas = Image.new("RGB", (_SIDE, _SIDE), "white")
        width, height = official.size
        canvas.paste(official, ((_SIDE - width) // 2, (_SIDE - height) // 2), official)
        canvas.save(out / path)
        items.append({"item_id": brand, "title": brand, "image_path": path})
        # Of a brand in training one drawing is kept for val or test; of the others all are.
        never_trained = rng.random() < 0.25
        held_out = "val" if rng.random() < 0.3 else "test"
        names = rng.permutation(sorted(drawings)).tolist()
        for number, name in enumerate(names):
            drawn = _rendered(drawings[name])
            if drawn is None:
                continue
            split = held_out if never_trained or number == 0 else "train"
            group = "never trained" if never_trained else "trained on"
            for shot in range(_SHOTS if split == "train" else 1):
                key = f"{brand}-{name}-{shot}"
                _photo(drawn, rng).save(out / "images" / f"{key}.jpg", quality=85)
                queries.append(
                    {
                        "query_id": key,
                        "image_path": f"images/{key}.jpg",
                        "item_id": brand,
                        "split": split,
                        "group": group,
                    }
                )
    pq.write_table(pa.Table.from_pylist(items), out / "items.parquet")
    pq.write_table(pa.Table.from_pylist(queries), out / "queries.parquet")
    splits = [query["split"] for query in queries]
    return {"items": len(items)} | {name: splits.count(name) for name in ("train", "val", "test")}


def _drawings(packages: Path) -> Drawings:
    brands: Drawings = defaultdict(dict)
    for name in (CATALOGUE, *DRAWN_BY):
        archives = sorted(packages.glob(f"iconify-json-{name}-[0-9]*.tgz"))
        if not archives:
            raise SystemExit(f"no package of '{name}' in {packages}: npm pack @iconify-json/{name}")
        with tarfile.open(archives[-1]) as archive:
            content = archive.extractfile("package/icons.json")
            assert content is not None
            icons = json.load(content)
        for icon, drawing in sorted(icons["icons"].items()):
            brand = _brand(icon)
            width = drawing.get("width", icons.get("width", 16))
            height = drawing.get("height", icons.get("height", 16))
            if (
                brand
                and name not in brands[brand]
                and max(width, height) <= 2.5 * min(width, height)
            ):
                brands[brand][name] = (
                    f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
                    f'viewBox="0 0 {width} {height}" width="{width}" height="{height}">{drawing["body"]}</svg>'
                )
    return brands


def _brand(icon: str) -> str:
    name = _PREFIXES.sub("", icon.lower())
    return re.sub(r"[^a-z0-9]", "", _VARIANTS.sub("", _VARIANTS.sub("", name)))


def _rendered(svg: str) -> Image.Image | None:
    """The drawing as RGBA, its long side ``_DRAWING`` pixels; None for one that cannot be drawn or is empty."""
    try:
        import resvg_py
    except ImportError:
        raise SystemExit("drawing needs resvg: pip install resvg_py") from None
    try:
        data = resvg_py.svg_to_bytes(svg_string=svg, width=2 * _DRAWING, skip_system_fonts=True)
        image = Image.open(BytesIO(bytes(data))).convert("RGBA")
    except (ValueError, OSError):
        return None
    box = image.getchannel("A").getbbox()
    if box is None:
        return None
    image = image.crop(box)
    image.thumbnail((_DRAWING, _DRAWING), Image.Resampling.LANCZOS)
    return image


def _photo(drawing: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The drawing on something, at an angle, in some light."""
    image = drawing
    colours = np.asarray(image)[np.asarray(image.getchannel("A")) > 128][:, :3]
    is_grey = len(colours) and (np.ptp(colours.astype(int), axis=1).max() < 30)
    light, dark = rng.integers(150, 256, 3), rng.integers(0, 110, 3)
    behind, ink = (light, dark) if rng.random() < 0.6 else (dark, light)
    if is_grey:  # drawn in one colour: printed in any
        image = Image.composite(
            Image.new("RGBA", image.size, (*ink.tolist(), 255)), image, image.getchannel("A")
        )
        image.putalpha(drawing.getchannel("A"))
    ground = np.linspace(0.8, 1.2, _SIDE)[:, None, None] * behind + rng.normal(
        0, 6, (_SIDE, _SIDE, 3)
    )
    canvas = Image.fromarray(np.clip(ground, 0, 255).astype(np.uint8))
    scale = rng.uniform(0.55, 1.0)
    image = image.resize([max(1, round(scale * side)) for side in image.size])
    layer = Image.new("RGBA", (_SIDE, _SIDE))
    room = _SIDE - image.width, _SIDE - image.height
    layer.paste(image, (int(rng.integers(room[0] + 1)), int(rng.integers(room[1] + 1))))
    layer = layer.rotate(rng.uniform(-15, 15), Image.Resampling.BICUBIC)
    corners = np.array([[0, 0], [0, _SIDE], [_SIDE, _SIDE], [_SIDE, 0]], dtype=float)
    moved = corners + rng.uniform(-0.12, 0.12, (4, 2)) * _SIDE
    layer = layer.transform(
        layer.size, Image.Transform.QUAD, moved.ravel().tolist(), Image.Resampling.BICUBIC
    )
    canvas.paste(layer, (0, 0), layer)
    shade = rng.uniform(0.5, 1.2) * rng.uniform(0.85, 1.15, 3)
    lit = np.clip(np.asarray(canvas) * shade, 0, 255).astype(np.uint8)
    return Image.fromarray(lit).filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.6)))
