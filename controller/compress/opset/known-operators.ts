/**
 * The operators of ONNX's operator sets 9 to 13 whose changes were looked through: those that
 * `adapters.ts` does not name kept their meaning. An operator that is not listed is not converted.
 * Source: ONNX, docs/Changelog.md, versions 9 to 13.
 */
const byLetter = [
  "Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization",
  "BitShift Cast Ceil Celu Clip Compress Concat ConcatFromSequence Constant ConstantOfShape Conv",
  "ConvInteger ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Det Div Dropout",
  "DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather",
  "GatherElements GatherND Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater",
  "GreaterOrEqual HardSigmoid Hardmax Identity InstanceNormalization IsInf IsNaN LRN LSTM LeakyRelu",
  "Less LessOrEqual Log LogSoftmax LpNormalization LpPool MatMul MatMulInteger Max MaxPool",
  "MaxRoiPool MaxUnpool Mean MeanVarianceNormalization Min Mod Mul Multinomial Neg",
  "NonMaxSuppression NonZero Not OneHot Or PRelu Pad Pow QLinearConv QLinearMatMul QuantizeLinear",
  "RNN RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal ReduceL1",
  "ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum",
  "ReduceSumSquare Relu Reshape Resize ReverseSequence RoiAlign Round Scatter ScatterElements",
  "ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign",
  "SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose Unique",
  "Unsqueeze Upsample Where Xor",
];

export const knownOperators: ReadonlySet<string> = new Set(
  byLetter.flatMap((line) => line.split(" ")),
);
