"""Runs files in Python's onnxruntime, after onnx.checker has seen them.

Reads a job (JSON file named by the first argument): {"input": {"name", "dtype", "shape", "file", "count"},
"files": [path]}. Per file one JSON line: {"file", "outputs"} with the path of the first output of all samples
as raw numbers, one sample after the other, or {"file", "error"}.
"""

import json
import sys

import numpy
import onnx
import onnxruntime


def outputs_of(path, spec):
    onnx.checker.check_model(onnx.load(path))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    samples = numpy.fromfile(spec["file"], dtype=spec["dtype"]).reshape([spec["count"], *spec["shape"]])
    answers = [session.run(None, {spec["name"]: sample})[0] for sample in samples]
    return numpy.concatenate([answer.ravel() for answer in answers])


def main():
    with open(sys.argv[1]) as file:
        job = json.load(file)
    for path in job["files"]:
        try:
            target = f"{path}.outputs"
            outputs_of(path, job["input"]).tofile(target)
            print(json.dumps({"file": path, "outputs": target}), flush=True)
        except Exception as error:
            print(json.dumps({"file": path, "error": f"{type(error).__name__}: {error}"[:300]}), flush=True)


main()
