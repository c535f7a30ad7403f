/**
 * How much a tensor claims to hold, computed before anything is allocated for it.
 */
import { FleetError } from "../../shared/errors.ts";
import { dataTypeOfCode, dataTypes } from "./data-type.ts";
import type { TensorProto } from "./schema.ts";
import { malformed } from "./wire.ts";

/** Elements that the dims declare; throws `onnx-malformed` for a negative dim. */
export function declaredElements(tensor: TensorProto): bigint {
  let count = 1n;
  for (const dim of tensor.dims) {
    if (dim < 0n) throw malformed(`tensor ${tensor.name ?? ""} has the dim ${dim}`);
    count *= dim;
  }
  return count;
}

/** Throws `onnx-too-large` when the dims declare more than `bytesMax`, whatever is stored. */
export function checkDeclaredSize(tensor: TensorProto, bytesMax: number): void {
  const type = dataTypeOfCode(tensor.dataType ?? 0);
  const bits = type === undefined ? 8 : dataTypes[type].bits;
  const bytes = (declaredElements(tensor) * BigInt(bits) + 7n) / 8n;
  if (bytes <= BigInt(bytesMax)) return;
  throw new FleetError(
    "onnx-too-large",
    `tensor ${tensor.name ?? ""} declares ${bytes} bytes, ${bytesMax} are allowed: use a smaller model`,
    { details: { tensor: tensor.name ?? "", bytes: String(bytes) } },
  );
}
