"""Applies what Intel Neural Compressor's ONNX adaptor offers to one model: static int8 by each calibration, dynamic.

Reads the same job and prints the same lines as quantize.py. Version 2.6 is the last with ONNX: 3.0 took it out.
"""

import itertools
import json
import logging
import os
import sys
import time
import warnings

import numpy
import onnx

warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)

from neural_compressor import PostTrainingQuantConfig, quantization  # noqa: E402


class Samples:
    """What `fit` wants to read: one sample a batch, with a label that nobody looks at."""

    batch_size = 1

    def __init__(self, samples):
        self.samples = samples

    def __iter__(self):
        return iter((sample, 0) for sample in self.samples)


def read_samples(spec):
    flat = numpy.fromfile(spec["file"], dtype=spec["dtype"])
    return list(flat.reshape([spec["count"], *spec["shape"]]))


def recipes(path, samples, grid):
    forms, methods = (("QDQ",), ("minmax",)) if grid == "few" else (("QDQ", "QOperator"), ("minmax", "percentile", "kl"))

    def fit(target, **options):
        config = PostTrainingQuantConfig(calibration_sampling_size=[len(samples)], **options)
        quantization.fit(onnx.load(path), config, calib_dataloader=Samples(samples)).save(target)

    for form, method in itertools.product(forms, methods):
        choice = {"activation": {"algorithm": [method]}}
        yield (
            f"{form.lower()}-{method}",
            "int8-channel",
            lambda target, form=form, choice=choice: fit(
                target, approach="static", quant_format=form, op_type_dict={".*": choice}
            ),
        )
    yield ("dynamic", "int8-dynamic", lambda target: fit(target, approach="dynamic"))


def main():
    with open(sys.argv[1]) as file:
        job = json.load(file)
    samples = read_samples(job["input"])
    before = sorted(node.op_type for node in onnx.load(job["model"]).graph.node)
    for recipe, scheme, call in recipes(job["model"], samples, job["grid"]):
        target = os.path.join(job["folder"], f"{recipe}.onnx")
        try:
            start = time.perf_counter()
            call(target)
            seconds = time.perf_counter() - start
            if sorted(node.op_type for node in onnx.load(target).graph.node) == before:
                raise ValueError("nothing in the model is quantized")
            answer = {"recipe": recipe, "scheme": scheme, "file": target, "seconds": seconds}
        except Exception as error:  # Whatever the quantizer throws is its answer for this model.
            answer = {"recipe": recipe, "scheme": scheme, "error": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(answer), flush=True)


main()
