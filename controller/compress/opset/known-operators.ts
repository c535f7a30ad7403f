/**
 * The operators of ONNX's operator sets 7 to 21 whose changes were looked through: those that no
 * adapter names kept their meaning. An operator that is not listed is not converted.
 * Source: ONNX, docs/Changelog.md, versions 7 to 21.
 */
const byLetter = [
  "Abs Acos Acosh Add AffineGrid And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool",
  "BatchNormalization Bernoulli BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BlackmanWindow",
  "Cast CastLike Ceil Celu CenterCropPad Clip Col2Im Compress Concat ConcatFromSequence Constant",
  "ConstantOfShape Conv ConvInteger ConvTranspose Cos Cosh CumSum DFT DeformConv DepthToSpace",
  "DequantizeLinear Det Div Dropout DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand EyeLike",
  "Flatten Floor GRU Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool",
  "GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization HammingWindow HannWindow",
  "HardSigmoid HardSwish Hardmax Identity InstanceNormalization IsInf IsNaN LRN LSTM",
  "LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization LpPool MatMul",
  "MatMulInteger Max MaxPool MaxRoiPool MaxUnpool Mean MeanVarianceNormalization MelWeightMatrix",
  "Min Mish Mod Mul Multinomial Neg NonMaxSuppression NonZero Not OneHot Optional",
  "OptionalGetElement OptionalHasElement Or PRelu Pad Pow QLinearConv QLinearMatMul QuantizeLinear",
  "RNN RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal ReduceL1",
  "ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum",
  "ReduceSumSquare Relu Reshape Resize ReverseSequence RoiAlign Round STFT Scatter ScatterElements",
  "ScatterND Selu SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert",
  "SequenceLength Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign",
  "SpaceToDepth Split SplitToSequence Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK",
  "Transpose Trilu Unique Unsqueeze Upsample Where Xor",
];

export const knownOperators: ReadonlySet<string> = new Set(
  byLetter.flatMap((line) => line.split(" ")),
);
