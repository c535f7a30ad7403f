"""Applies what NNCF's ONNX backend offers to one model: presets, bias corrections, SmoothQuant, weights alone.

Reads the same job and prints the same lines as quantize.py.
"""

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

import nncf  # noqa: E402
from nncf import CompressWeightsMode, ModelType, QuantizationPreset  # noqa: E402

OPSET_MIN = 13


def read_samples(spec):
    flat = numpy.fromfile(spec["file"], dtype=spec["dtype"])
    return list(flat.reshape([spec["count"], *spec["shape"]]))


def load(path):
    model = onnx.load(path)
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    return model if opset >= OPSET_MIN else onnx.version_converter.convert_version(model, OPSET_MIN)


def recipes(model, name, samples):
    def dataset():
        return nncf.Dataset([{name: sample} for sample in samples])

    def quantized(**options):
        return nncf.quantize(model, dataset(), subset_size=len(samples), **options)

    yield ("performance", "int8-channel", lambda: quantized(preset=QuantizationPreset.PERFORMANCE))
    yield ("mixed", "int8-channel", lambda: quantized(preset=QuantizationPreset.MIXED))
    yield (
        "mixed-bias-correction",
        "int8-channel",
        lambda: quantized(preset=QuantizationPreset.MIXED, fast_bias_correction=False),
    )
    yield ("transformer", "int8-channel", lambda: quantized(model_type=ModelType.TRANSFORMER))
    yield ("weights-int8", "w8", lambda: nncf.compress_weights(model, mode=CompressWeightsMode.INT8_ASYM))
    yield (
        "weights-int4",
        "w4",
        lambda: nncf.compress_weights(model, mode=CompressWeightsMode.INT4_SYM, group_size=32, all_layers=True),
    )


def main():
    with open(sys.argv[1]) as file:
        job = json.load(file)
    samples = read_samples(job["input"])
    before = sorted(node.op_type for node in onnx.load(job["model"]).graph.node)
    for recipe, scheme, call in recipes(load(job["model"]), job["input"]["name"], samples):
        target = os.path.join(job["folder"], f"{recipe}.onnx")
        try:
            start = time.perf_counter()
            made = call()
            seconds = time.perf_counter() - start
            if sorted(node.op_type for node in made.graph.node) == before:
                raise ValueError("nothing in the model is quantized")
            onnx.save(made, target)
            answer = {"recipe": recipe, "scheme": scheme, "file": target, "seconds": seconds}
        except Exception as error:  # Whatever NNCF throws is its answer for this model.
            answer = {"recipe": recipe, "scheme": scheme, "error": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(answer), flush=True)


main()
