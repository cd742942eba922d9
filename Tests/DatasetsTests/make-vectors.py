#!/usr/bin/env python3
"""Makes vectors/: small files of every format, and what Pillow and NumPy read from them.

Needs: pip install numpy==2.4.6 pillow==11.3.0 (Pillow 13 filters columns before rows where that is cheaper,
which changes some bytes by one)
"""
import gzip, pathlib
import numpy as np
from PIL import Image

out = pathlib.Path(__file__).parent / "vectors"
out.mkdir(exist_ok=True)
random = np.random.default_rng(1)

def smooth(height, width, channels):
    y, x = np.mgrid[0:height, 0:width]
    planes = [127 + 90 * np.sin(x / (3 + c) + c) * np.cos(y / (4 - c)) + random.normal(0, 12, (height, width))
              for c in range(channels)]
    return np.clip(np.stack(planes, 2), 0, 255).astype(np.uint8)

picture = smooth(23, 37, 3)
color = Image.fromarray(picture)
gray = Image.fromarray(picture[:, :, 0])
save = lambda name, array: np.save(out / f"{name}.npy", array)

# Decoding.
color.save(out / "color.png")
gray.save(out / "gray.png")
color.quantize(16).save(out / "palette.png")
color.quantize(16).convert("RGB").save(out / "palette-as-color.png")
Image.fromarray(np.dstack([picture, picture[:, :, 1]])).save(out / "alpha.png")
color.save(out / "color.jpg", quality=85)
color.save(out / "progressive.jpg", quality=85, progressive=True, subsampling=0)
gray.save(out / "gray.jpg", quality=85)
inks = np.dstack([255 - picture, picture[:, :, 1] // 2])
Image.frombytes("CMYK", (37, 23), inks.tobytes()).save(out / "print.jpg", quality=95)
Image.fromarray(picture[:, :, 0].astype(np.uint16) * 257).save(out / "gray16.png")
for name in ["color.jpg", "progressive.jpg", "palette.png", "alpha.png"]:
    save(name, np.asarray(Image.open(out / name).convert("RGB")))
save("gray.jpg", np.asarray(Image.open(out / "gray.jpg")))
save("print.jpg", np.asarray(Image.open(out / "print.jpg").convert("RGB")))
save("color.png", picture)
save("luma", np.asarray(color.convert("L")))

# Resizing: heights and widths up, down, both, and odd factors.
filters = {"nearest": Image.NEAREST, "bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC}
for name, filter in filters.items():
    for height, width in [(10, 16), (46, 50), (7, 90), (23, 12), (1, 1)]:
        save(f"{name}-{height}x{width}", np.asarray(color.resize((width, height), filter)))
    floats = Image.fromarray(picture[:, :, 0].astype(np.float32) / 7, mode="F")
    save(f"{name}-float-11x50", np.asarray(floats.resize((50, 11), filter)))

# Arrays.
values = np.array([[0, 1, 2], [3, 100, 120]])
for kind in ["u1", "i1", "<u2", "<i2", "<i4", "<i8", "<f2", "<f4", "<f8", "?"]:
    save("array-" + kind.strip("<").replace("?", "b1"), values.astype(kind))
save("array-fortran", np.asfortranarray(values.astype("<f4")))
save("array-big-endian", values.astype(">f4"))
save("array-c8", values.astype("<c8"))
np.savez(out / "stored.npz", x=smooth(4, 5, 3)[None].repeat(3, 0), labels=np.array([2, 0, 1]))
np.savez_compressed(out / "compressed.npz", data=np.arange(24, dtype="<f4").reshape(2, 3, 2, 2))

# IDX and CIFAR-10.
digits = random.integers(0, 256, (5, 4, 6), dtype=np.uint8)
header = bytes([0, 0, 8, 3]) + b"".join(int(n).to_bytes(4, "big") for n in digits.shape)
idx = out / "idx"
idx.mkdir(exist_ok=True)
with gzip.GzipFile(idx / "t-images-idx3-ubyte.gz", "wb", mtime=0) as file:
    file.write(header + digits.tobytes())
(idx / "t-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 5, 3, 1, 4, 1, 5]))
save("idx", digits)
planes = random.integers(0, 4, (2, 3, 32, 32), dtype=np.uint8)
(out / "cifar.bin").write_bytes(b"".join(bytes([label]) + image.tobytes() for label, image in zip([7, 3], planes)))
save("cifar", planes)
with gzip.GzipFile(out / "zeros.gz", "wb", mtime=0) as file:
    file.write(bytes(8 << 20))
