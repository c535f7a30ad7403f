/**
 * Reading and writing real ONNX files: our codec against `onnx-buf`, a compiled protobuf codec. Bars: we
 * are not slower, and what we write is what was read.
 */
import fs from "node:fs";
import path from "node:path";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { ModelProtoSchema } from "onnx-buf";
import { decodeModel, encodeModel } from "../../controller/onnx/proto.ts";
import { ocrModelsFolder } from "../data/ocr-models.ts";
import { atMost, type Benchmark, median, type Row, timeInTurns } from "./frame.ts";

const rounds = 40;

export const onnxCodec: Benchmark = {
  name: "onnx-codec",
  summary: "parse and write the PP-OCR models: our codec against onnx-buf",
  run: async (say) => {
    const rows = modelFiles().map((file) => {
      say(path.basename(file));
      return measure(file);
    });
    const worst = (column: string): number => Math.max(...rows.map((row) => Number(row[column])));
    return {
      rows,
      bars: [
        atMost("worst parse time, ours / onnx-buf", worst("parse_ratio"), 1),
        atMost("worst write time, ours / onnx-buf", worst("write_ratio"), 1),
        atMost("files not written as they were read", rows.filter((row) => !row["same"]).length, 0),
      ],
    };
  },
};

function modelFiles(): string[] {
  const folder = ocrModelsFolder();
  const files = fs.readdirSync(folder).filter((name) => name.endsWith(".onnx"));
  if (files.length === 0) throw new Error(`no .onnx file in ${folder}: run npm ci`);
  return files.map((name) => path.join(folder, name));
}

function measure(file: string): Row {
  const bytes = new Uint8Array(fs.readFileSync(file));
  const ours = decodeModel(bytes);
  const theirs = fromBinary(ModelProtoSchema, bytes);
  const times = timeInTurns(
    {
      parse: () => decodeModel(bytes),
      rivalParse: () => fromBinary(ModelProtoSchema, bytes),
      write: () => encodeModel(ours),
      rivalWrite: () => toBinary(ModelProtoSchema, theirs),
    },
    rounds,
  );
  const parseMs = median(times.parse);
  const rivalParseMs = median(times.rivalParse);
  const writeMs = median(times.write);
  const rivalWriteMs = median(times.rivalWrite);
  return {
    file: path.basename(file),
    bytes: bytes.length,
    parse_ms: parseMs,
    rival_parse_ms: rivalParseMs,
    parse_ratio: parseMs / rivalParseMs,
    write_ms: writeMs,
    rival_write_ms: rivalWriteMs,
    write_ratio: writeMs / rivalWriteMs,
    same: Buffer.compare(encodeModel(ours), bytes) === 0,
  };
}
