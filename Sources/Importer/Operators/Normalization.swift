import IR

let normalizationOperators: [OnnxOperator] = [
  OnnxOperator("BatchNormalization", [7, 9, 14, 15], "batch-norm, at inference", importBatchNormalization),
  OnnxOperator("LayerNormalization", [17], "layer-norm, without its statistics") { builder, call throws(ImportFailure) in
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
  OnnxOperator("InstanceNormalization", [6], "mean, variance and affine over the spatial axes", importInstanceNormalization),
  OnnxOperator("Dropout", [7, 10, 12, 13], "identity, at inference") { builder, call throws(ImportFailure) in
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

private func importBatchNormalization(_ builder: GraphBuilder, _ call: OnnxCall) throws(ImportFailure) -> [ValueID] {
  try call.requireInputs(5...5)
  guard call.outputCount == 1 || call.opset < 14 else {
    throw ImportFailure("it returns running statistics", hint: "export the model for inference")
  }
  try call.requireOutputs(1)
  if try call.flag("training_mode") {
    throw ImportFailure("it is in training mode", hint: "export the model for inference")
  }
  if try !call.flag("spatial", default: true) { throw ImportFailure("attribute 'spatial' = 0 is not supported") }
  call.ignore("momentum")
  var norm = BatchNorm()
  norm.epsilon = try call.float("epsilon", default: 1e-5)
  return try builder.emit(.batchNorm(norm), call.allInputs())
}

/// (x - mean) / sqrt(variance + epsilon) * scale + bias, with each sample's and channel's own statistics.
private func importInstanceNormalization(_ builder: GraphBuilder, _ call: OnnxCall) throws(ImportFailure) -> [ValueID] {
  try call.requireInputs(3...3)
  let x = try call.input(0), rank = builder.rank(x)
  guard rank >= 3 else { throw ImportFailure("its input has shape \(builder.shape(x))") }
  let epsilon = try call.float("epsilon", default: 1e-5)
  var mean = Reduce(.mean)
  mean.axes = Array(2..<rank)
  func perChannel(_ index: Int, _ suffix: String) throws(ImportFailure) -> ValueID {
    var unsqueeze = Unsqueeze()
    unsqueeze.axes = Array(1..<(rank - 1))
    return try builder.step(.unsqueeze(unsqueeze), [call.input(index)], suffix)
  }
  let average = try builder.step(.reduce(mean), [x], "mean")
  let centered = try builder.step(.binary(Binary(.subtract)), [x, average], "centered")
  let square = try builder.step(.binary(Binary(.multiply)), [centered, centered], "square")
  let variance = try builder.step(.reduce(mean), [square], "variance")
  let shifted = try builder.step(.binary(Binary(.add)), [variance, builder.constant([epsilon], "epsilon")], "shifted")
  let deviation = try builder.step(.unary(Unary(.sqrt)), [shifted], "deviation")
  let normal = try builder.step(.binary(Binary(.divide)), [centered, deviation], "normal")
  let scaled = try builder.step(.binary(Binary(.multiply)), [normal, perChannel(1, "scale")], "scaled")
  return try builder.emit(.binary(Binary(.add)), [scaled, perChannel(2, "bias")])
}
