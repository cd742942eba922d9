import IR

let normalizationOperators: [OnnxOperator] = [
  OnnxOperator("BatchNormalization", [7, 9, 14, 15], "batch-norm, at inference", importBatchNormalization),
  OnnxOperator("LayerNormalization", [17], "layer-norm, without its statistics") {
    builder, call throws(ImportFailure) in
    try call.requireInputs(2...3)
    try call.requireOutputs(1)
    call.ignore("stash_type")
    var norm = LayerNorm()
    norm.axis = try call.int("axis", default: -1)
    norm.epsilon = try call.float("epsilon", default: 1e-5)
    var operands = [try call.input(0), try call.input(1)]
    if let bias = call.optionalInput(2) { operands.append(bias) }
    return try builder.emit(.layerNorm(norm), operands)
  },
  OnnxOperator(
    "InstanceNormalization", [6, 22], "mean, variance and affine over the spatial axes",
    importInstanceNormalization),
  OnnxOperator(
    "GroupNormalization", [18, 21], "mean, variance and affine over groups of channels",
    importGroupNormalization),
  OnnxOperator("Dropout", [7, 10, 12, 13, 22], "identity, at inference") {
    builder, call throws(ImportFailure) in
    try call.requireInputs(1...3)
    try call.requireOutputs(1)
    call.ignore("ratio")
    call.ignore("seed")
    if let training = call.optionalInput(2), try builder.integers(training, "training mode") != [0] {
      throw ImportFailure("it is in training mode", hint: "export the model for inference")
    }
    return try builder.emit(.identity(Identity()), [call.input(0)])
  },
]

private func importBatchNormalization(
  _ builder: GraphBuilder, _ call: OnnxCall
) throws(ImportFailure) -> [ValueID] {
  try call.requireInputs(5...5)
  guard call.outputCount == 1 || call.opset < 14 else {
    throw ImportFailure("it returns running statistics", hint: "export the model for inference")
  }
  try call.requireOutputs(1)
  if try call.flag("training_mode") {
    throw ImportFailure("it is in training mode", hint: "export the model for inference")
  }
  if try !call.flag("spatial", default: true) {
    throw ImportFailure("attribute 'spatial' = 0 is not supported")
  }
  call.ignore("momentum")
  var norm = BatchNorm()
  norm.epsilon = try call.float("epsilon", default: 1e-5)
  return try builder.emit(.batchNorm(norm), call.allInputs())
}

/// (x - mean) / sqrt(variance + epsilon) with statistics over `axes`.
private func normalized(
  _ builder: GraphBuilder, _ x: ValueID, axes: [Int], epsilon: Float
) throws(ImportFailure) -> ValueID {
  var mean = Reduce(.mean)
  mean.axes = axes
  let average = try builder.step(.reduce(mean), [x], "mean")
  let centered = try builder.step(.binary(Binary(.subtract)), [x, average], "centered")
  let square = try builder.step(.binary(Binary(.multiply)), [centered, centered], "square")
  let variance = try builder.step(.reduce(mean), [square], "variance")
  let shifted = try builder.step(
    .binary(Binary(.add)), [variance, builder.floatConstant([epsilon], "epsilon")], "shifted")
  let deviation = try builder.step(.unary(Unary(.sqrt)), [shifted], "deviation")
  return try builder.step(.binary(Binary(.divide)), [centered, deviation], "normal")
}

/// x times scale plus bias (inputs 1 and 2), which gain `count` axes of extent 1 behind their own.
private func scaledAndShifted(
  _ builder: GraphBuilder, _ call: OnnxCall, _ x: ValueID, trailingAxes count: Int, emits: Bool
) throws(ImportFailure) -> [ValueID] {
  var unsqueeze = Unsqueeze()
  unsqueeze.axes = Array(1..<(1 + count))
  let scale = try builder.step(.unsqueeze(unsqueeze), [call.input(1)], "scale")
  let bias = try builder.step(.unsqueeze(unsqueeze), [call.input(2)], "bias")
  let scaled = try builder.step(.binary(Binary(.multiply)), [x, scale], "scaled")
  return emits
    ? try builder.emit(.binary(Binary(.add)), [scaled, bias])
    : [try builder.step(.binary(Binary(.add)), [scaled, bias], "shifted")]
}

/// Each sample's and channel's own statistics.
private func importInstanceNormalization(
  _ builder: GraphBuilder, _ call: OnnxCall
) throws(ImportFailure) -> [ValueID] {
  try call.requireInputs(3...3)
  let x = try call.input(0), rank = builder.rank(x)
  guard rank >= 3 else { throw ImportFailure("its input has shape \(builder.shape(x))") }
  let normal = try normalized(
    builder, x, axes: Array(2..<rank), epsilon: call.float("epsilon", default: 1e-5))
  return try scaledAndShifted(builder, call, normal, trailingAxes: rank - 2, emits: true)
}

/// Statistics of groups of channels. Scale and bias are per group in operator set 18 and per channel since 21.
private func importGroupNormalization(
  _ builder: GraphBuilder, _ call: OnnxCall
) throws(ImportFailure) -> [ValueID] {
  try call.requireInputs(3...3)
  call.ignore("stash_type")
  let x = try call.input(0), shape = builder.shape(x), groups = try call.int("num_groups", default: 0)
  guard shape.rank >= 3, let channels = shape.size(1), groups > 0, channels % groups == 0,
    let area = checkedProduct(shape.extents[2...].compactMap(\.value)), !shape.extents[1...].contains(.batch)
  else { throw ImportFailure("\(groups) groups do not fit its input of shape \(shape)") }
  let epsilon = try call.float("epsilon", default: 1e-5)
  var group = Reshape(), ungroup = Reshape()
  group.shape = Shape([shape[0], .known(groups), .known(channels / groups * area)])
  ungroup.shape = shape
  let grouped = try builder.step(.reshape(group), [x], "groups")
  var result = try normalized(builder, grouped, axes: [2], epsilon: epsilon)
  if call.opset < 21 {
    result = try scaledAndShifted(builder, call, result, trailingAxes: 1, emits: false)[0]
    return try builder.emit(.reshape(ungroup), [result])
  }
  result = try builder.step(.reshape(ungroup), [result], "channels")
  return try scaledAndShifted(builder, call, result, trailingAxes: shape.rank - 2, emits: true)
}
