"""Decodes a pack of JPEG images into CIFAR-10's binary layout, once, so that every run sees the same pixels.

Reads a job (JSON file named by the first argument): {"pack", "target", "count"}. The pack holds records of
`u8 label`, `u32le length`, JPEG bytes; the target gets `u8 label` and the planes R, G, B of each.
"""

import io
import json
import os
import struct
import sys

import numpy
from PIL import Image


def main():
    with open(sys.argv[1]) as file:
        job = json.load(file)
    with open(job["pack"], "rb") as pack, open(f"{job['target']}.part", "wb") as target:
        for _ in range(job["count"]):
            label, length = struct.unpack("<BI", pack.read(5))
            pixels = numpy.asarray(Image.open(io.BytesIO(pack.read(length))).convert("RGB"))
            target.write(bytes([label]))
            target.write(pixels.transpose(2, 0, 1).tobytes())
    os.replace(f"{job['target']}.part", job["target"])
    print(json.dumps({"target": job["target"]}))


main()
