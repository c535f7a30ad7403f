"""Draws text into images, once, so that every run sees the same pixels.

Reads a job (JSON file named by the first argument): {"target", "width", "height", "images": [[{"text", "x", "y",
"size", "ink"}]], "paper", "noise", "blur", "seed"}. The target gets the images as u8 [count, height, width]. Prints
{"boxes": [[[left, top, right, bottom]]]}, the box of each text.
"""

import json
import os
import sys

import numpy
from PIL import Image, ImageDraw, ImageFilter, ImageFont


def main():
    with open(sys.argv[1]) as file:
        job = json.load(file)
    random = numpy.random.default_rng(job["seed"])
    boxes = []
    with open(f"{job['target']}.part", "wb") as target:
        for texts in job["images"]:
            image = Image.new("L", (job["width"], job["height"]), job["paper"])
            draw = ImageDraw.Draw(image)
            here = []
            for text in texts:
                font = ImageFont.load_default(text["size"])
                place = (text["x"], text["y"])
                draw.text(place, text["text"], fill=text["ink"], font=font)
                here.append(draw.textbbox(place, text["text"], font=font))
            boxes.append(here)
            blurred = image.filter(ImageFilter.GaussianBlur(job["blur"]))
            pixels = numpy.asarray(blurred) + random.normal(0, job["noise"], (job["height"], job["width"]))
            target.write(pixels.round().clip(0, 255).astype("u1").tobytes())
    os.replace(f"{job['target']}.part", job["target"])
    print(json.dumps({"boxes": boxes}))


main()
