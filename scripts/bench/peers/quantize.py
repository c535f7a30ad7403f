"""Applies every scheme and calibration that onnxruntime's own quantizer offers to one model.

Reads a job (JSON file named by the first argument), writes one ONNX file per recipe into the job's folder and
one JSON line per recipe to standard output: {"recipe", "scheme", "file", "seconds"} or {"recipe", "error"}.
Judges nothing. Seconds are those of the quantizer's call alone, best of `repeats`; start-up and imports are
not in them.

Job: {"model", "folder", "input": {"name", "dtype", "shape", "file", "count"}, "grid": "full" | "core" | "few" | "parity",
"repeats": absent, or how often the recipe whose time is compared runs instead of all the others,
"only": absent, or the name of the one recipe to run}.
`input.file` holds `count` samples of `shape`, batch axis included.
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
import onnxruntime
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quant_pre_process,
    quantize_dynamic,
    quantize_static,
)

logging.disable(logging.CRITICAL)
warnings.filterwarnings("ignore")

TYPES = {
    "u8s8": (QuantType.QUInt8, QuantType.QInt8),
    "s8s8": (QuantType.QInt8, QuantType.QInt8),
    "u8u8": (QuantType.QUInt8, QuantType.QUInt8),
}

# Each: method and the extra options of quantize_static that set it up.
CALIBRATIONS = {
    "minmax": (CalibrationMethod.MinMax, {}),
    "moving": (CalibrationMethod.MinMax, {"CalibMovingAverage": True}),
    "entropy": (CalibrationMethod.Entropy, {}),
    "p99.999": (CalibrationMethod.Percentile, {}),
    "p99.999-asym": (CalibrationMethod.Percentile, {"CalibTensorRangeSymmetric": False}),
    "p99.99-asym": (CalibrationMethod.Percentile, {"CalibTensorRangeSymmetric": False, "CalibPercentile": 99.99}),
    "p99.9-asym": (CalibrationMethod.Percentile, {"CalibTensorRangeSymmetric": False, "CalibPercentile": 99.9}),
}
GRIDS = {
    "full": list(CALIBRATIONS),
    "core": ["minmax", "moving", "entropy", "p99.999-asym", "p99.99-asym"],
    "few": ["minmax", "p99.999-asym"],
}


class Samples(CalibrationDataReader):
    """Yields the samples one by one from memory."""

    def __init__(self, name, samples):
        self.name = name
        self.samples = samples
        self.at = iter(samples)

    def get_next(self):
        sample = next(self.at, None)
        return None if sample is None else {self.name: sample}

    def rewind(self):
        self.at = iter(self.samples)


def read_samples(spec):
    flat = numpy.fromfile(spec["file"], dtype=spec["dtype"])
    return list(flat.reshape([spec["count"], *spec["shape"]]))


def static_recipes(job, samples, prepared):
    """Names and calls of quantize_static. Ranges are observed once per calibration and read from a cache after."""
    name = job["input"]["name"]
    calibrations = GRIDS[job["grid"]]

    def call(target, scheme, per_channel, reduce, calibration, form):
        activation, weight = TYPES[scheme]
        method, extra = CALIBRATIONS[calibration]
        quantize_static(
            prepared,
            target,
            Samples(name, samples),
            quant_format=form,
            per_channel=per_channel,
            reduce_range=reduce,
            activation_type=activation,
            weight_type=weight,
            calibrate_method=method,
            extra_options=dict(extra),
            calibration_cache_path=os.path.join(job["folder"], f"ranges-{calibration}.json"),
        )

    yield (
        "default",
        "int8-tensor",
        lambda target: quantize_static(job["model"], target, Samples(name, samples)),
    )
    options = itertools.product(calibrations, TYPES, (False, True), (False, True))
    for calibration, scheme, per_channel, reduce in options:
        if reduce and (scheme == "u8u8" or job["grid"] != "full"):
            continue
        for form in (QuantFormat.QDQ, QuantFormat.QOperator):
            # The two forms hold the same numbers; the second is wanted for its size and speed.
            if form is QuantFormat.QOperator and (calibration != "minmax" or reduce):
                continue
            parts = [
                scheme,
                "channel" if per_channel else "tensor",
                *(["reduced"] if reduce else []),
                calibration,
                "qdq" if form is QuantFormat.QDQ else "qop",
            ]
            yield (
                "-".join(parts),
                "int8-channel" if per_channel else "int8-tensor",
                lambda target, args=(scheme, per_channel, reduce, calibration, form): call(target, *args),
            )


def timed_recipes(job, samples, prepared):
    """The recipe whose time is compared: from calibration to file, and with the preparation before it."""

    def quantize(model, target):
        quantize_static(
            model,
            target,
            Samples(job["input"]["name"], samples),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )

    def prepare_and_quantize(target):
        model = os.path.join(job["folder"], "prepared-in-time.onnx")
        quant_pre_process(job["model"], model)
        quantize(model, target)

    yield "quantized", "time", lambda target: quantize(prepared, target)
    yield "prepared and quantized", "time", prepare_and_quantize


def one_thread():
    """Has calibration run on one thread: with more, products are cut elsewhere and the last bits of ranges move.

    The calibrators make their sessions by this name and offer no option for it.
    """

    def options():
        made = session_options()
        made.intra_op_num_threads = 1
        return made

    session_options = onnxruntime.SessionOptions
    onnxruntime.SessionOptions = options


def parity_recipes(job, samples):
    """Static int8 with observed extremes of the model as it is, for comparing scales and zero points."""
    for form in ("channel", "tensor"):
        yield (
            form,
            f"int8-{form}",
            lambda target, form=form: quantize_static(
                job["model"],
                target,
                Samples(job["input"]["name"], samples),
                per_channel=form == "channel",
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            ),
        )


def dynamic_recipes(prepared):
    for weight, per_channel in itertools.product(("s8", "u8"), (False, True)):
        kind = QuantType.QInt8 if weight == "s8" else QuantType.QUInt8
        yield (
            f"dynamic-{weight}-{'channel' if per_channel else 'tensor'}",
            "int8-dynamic",
            lambda target, args=(kind, per_channel): quantize_dynamic(
                prepared, target, weight_type=args[0], per_channel=args[1]
            ),
        )


def weight_only_recipes(prepared):
    from onnxruntime.quantization.matmul_nbits_quantizer import (
        HQQWeightOnlyQuantConfig,
        KQuantWeightOnlyQuantConfig,
        MatMulNBitsQuantizer,
    )

    operators = ("MatMul", "Gather")

    def call(target, **options):
        quantizer = MatMulNBitsQuantizer(onnx.load(prepared), op_types_to_quantize=operators, **options)
        quantizer.process()
        quantizer.model.save_model_to_file(target)

    for bits, block, symmetric in itertools.product((2, 4, 8), (32, 128), (False, True)):
        yield (
            f"matmul{bits}bit-{block}-{'sym' if symmetric else 'asym'}",
            f"w{bits}",
            lambda target, args=(bits, block, symmetric): call(
                target, bits=args[0], block_size=args[1], is_symmetric=args[2], accuracy_level=4
            ),
        )
    yield ("matmul4bit-kquant", "w4", lambda target: call(target, algo_config=KQuantWeightOnlyQuantConfig()))
    yield ("matmul4bit-hqq", "w4", lambda target: call(target, algo_config=HQQWeightOnlyQuantConfig(block_size=32)))
    yield (
        "matmul4bit-32-sym-qdq",
        "w4",
        lambda target: call(target, bits=4, block_size=32, is_symmetric=True, quant_format=QuantFormat.QDQ),
    )


def half_recipes(prepared):
    from onnxruntime.transformers.float16 import convert_float_to_float16

    def call(target):
        onnx.save(convert_float_to_float16(onnx.load(prepared), keep_io_types=True), target)

    yield ("fp16", "fp16", call)


def changed(prepared, target):
    """A recipe that found nothing to do leaves the model as it was."""
    kinds = [sorted(node.op_type for node in onnx.load(path).graph.node) for path in (prepared, target)]
    return kinds[0] != kinds[1]


def run(recipe, scheme, call, folder, prepared, repeats):
    target = os.path.join(folder, f"{recipe}.onnx")
    seconds = []
    try:
        for _ in range(repeats):
            start = time.perf_counter()
            call(target)
            seconds.append(time.perf_counter() - start)
        if scheme not in ("time", "fp16") and not changed(prepared, target):
            raise ValueError("nothing in the model is quantized")
        answer = {"recipe": recipe, "scheme": scheme, "file": target, "seconds": min(seconds)}
    except Exception as error:  # Whatever the quantizer throws is its answer for this model.
        answer = {"recipe": recipe, "scheme": scheme, "error": f"{type(error).__name__}: {error}"[:300]}
    print(json.dumps(answer), flush=True)


def main():
    with open(sys.argv[1]) as file:
        job = json.load(file)
    samples = read_samples(job["input"])
    if job["grid"] == "parity":
        one_thread()
    prepared = os.path.join(job["folder"], "prepared.onnx")
    try:
        if job["grid"] == "parity":
            prepared = job["model"]
        else:
            quant_pre_process(job["model"], prepared)
    except Exception as error:
        print(json.dumps({"recipe": "quant_pre_process", "scheme": "none", "error": str(error)[:300]}), flush=True)
        prepared = job["model"]
    if job["grid"] == "parity":
        recipes = parity_recipes(job, samples)
    elif "repeats" in job:
        recipes = timed_recipes(job, samples, prepared)
    else:
        recipes = itertools.chain(
            static_recipes(job, samples, prepared),
            dynamic_recipes(prepared),
            weight_only_recipes(prepared),
            half_recipes(prepared),
        )
    for recipe, scheme, call in recipes:
        if recipe != job.get("only", recipe):
            continue
        run(recipe, scheme, call, job["folder"], prepared, job.get("repeats", 1))


main()
