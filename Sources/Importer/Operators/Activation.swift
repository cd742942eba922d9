import IR

let activationOperators: [OnnxOperator] = [
  OnnxOperator("Relu", [6, 13, 14], "relu", unary(.relu)),
  OnnxOperator("Sigmoid", [6, 13], "sigmoid", unary(.sigmoid)),
  OnnxOperator("Tanh", [6, 13], "tanh", unary(.tanh)),
  OnnxOperator("Softplus", [1, 22], "softplus", unary(.softplus)),
  OnnxOperator("HardSwish", [14, 22], "hard-swish", unary(.hardSwish)),
  OnnxOperator("LeakyRelu", [6, 16], "leaky-relu") { builder, call throws(ImportFailure) in
    let alpha = try call.float("alpha", default: 0.01)
    return try builder.emit(.unary(Unary(.leakyRelu, alpha: alpha)), [call.input(0)])
  },
  OnnxOperator("Elu", [6, 22], "elu") { builder, call throws(ImportFailure) in
    try builder.emit(.unary(Unary(.elu, alpha: call.float("alpha", default: 1))), [call.input(0)])
  },
  OnnxOperator("Selu", [6, 22], "elu times gamma") { builder, call throws(ImportFailure) in
    let alpha = try call.float("alpha", default: 1.673_263_2),
      gamma = try call.float("gamma", default: 1.050_701)
    let elu = try builder.step(.unary(Unary(.elu, alpha: alpha)), [call.input(0)], "elu")
    return try builder.emit(.binary(Binary(.multiply)), [elu, builder.floatConstant([gamma], "gamma")])
  },
  OnnxOperator("HardSigmoid", [6, 22], "hard-sigmoid") { builder, call throws(ImportFailure) in
    let alpha = try call.float("alpha", default: 0.2), beta = try call.float("beta", default: 0.5)
    return try builder.emit(.unary(Unary(.hardSigmoid, alpha: alpha, beta: beta)), [call.input(0)])
  },
  OnnxOperator("Softsign", [1, 22], "x / (1 + |x|)") { builder, call throws(ImportFailure) in
    let x = try call.input(0)
    let magnitude = try builder.step(.unary(Unary(.abs)), [x], "abs")
    let divisor = try builder.step(
      .binary(Binary(.add)), [magnitude, builder.floatConstant([1], "one")], "divisor")
    return try builder.emit(.binary(Binary(.divide)), [x, divisor])
  },
  OnnxOperator("Gelu", [20], "gelu; its tanh form from elementary functions", importGelu),
  OnnxOperator("Mish", [18, 22], "x tanh(softplus(x))") { builder, call throws(ImportFailure) in
    let x = try call.input(0)
    let softplus = try builder.step(.unary(Unary(.softplus)), [x], "softplus")
    let gate = try builder.step(.unary(Unary(.tanh)), [softplus], "gate")
    return try builder.emit(.binary(Binary(.multiply)), [x, gate])
  },
  OnnxOperator("Swish", [24], "silu, or x sigmoid(alpha x)") { builder, call throws(ImportFailure) in
    let x = try call.input(0), alpha = try call.float("alpha", default: 1)
    if alpha == 1 { return try builder.emit(.unary(Unary(.silu)), [x]) }
    let scaled = try builder.step(
      .binary(Binary(.multiply)), [x, builder.floatConstant([alpha], "alpha")], "scaled")
    let gate = try builder.step(.unary(Unary(.sigmoid)), [scaled], "gate")
    return try builder.emit(.binary(Binary(.multiply)), [x, gate])
  },
  OnnxOperator("PRelu", [7, 9, 16], "parametric-relu") { builder, call throws(ImportFailure) in
    try call.requireInputs(2...2)
    return try builder.emit(.binary(Binary(.parametricRelu)), call.allInputs())
  },
  OnnxOperator("Clip", [6, 11, 12, 13], "clip, or maximum and minimum with computed bounds", importClip),
]

/// An operator that is one unary function and has no attributes.
func unary(
  _ function: Unary.Function
) -> @Sendable (GraphBuilder, OnnxCall) throws(ImportFailure) -> [ValueID] {
  { builder, call throws(ImportFailure) in
    try call.requireInputs(1...1)
    return try builder.emit(.unary(Unary(function)), [call.input(0)])
  }
}

/// Bounds are attributes before operator set 11, optional inputs from then on.
private func importClip(_ builder: GraphBuilder, _ call: OnnxCall) throws(ImportFailure) -> [ValueID] {
  let x = try call.input(0)
  if call.opset < 11 {
    let minimum = try call.float("min", default: -Float.greatestFiniteMagnitude)
    let maximum = try call.float("max", default: Float.greatestFiniteMagnitude)
    return try builder.emit(.unary(Unary(.clip, alpha: minimum, beta: maximum)), [x])
  }
  try call.requireInputs(1...3)
  let bounds = [call.optionalInput(1), call.optionalInput(2)]
  if builder.type(x).element == .f32 {
    // One number in either bound, or none; the upper one wins when they cross (min(max(x, lower), upper)).
    let values = bounds.map { $0.map { builder.constantFloats($0) ?? [] } }
    if values.allSatisfy({ $0 == nil || $0?.count == 1 }) {
      let minimum = values[0]?[0] ?? -.infinity, maximum = values[1]?[0] ?? .infinity
      return try builder.emit(.unary(Unary(.clip, alpha: min(minimum, maximum), beta: maximum)), [x])
    }
  }
  guard let maximum = bounds[1] else {
    guard let minimum = bounds[0] else { return try builder.emit(.identity(Identity()), [x]) }
    return try builder.emit(.binary(Binary(.maximum)), [x, minimum])
  }
  var bounded = x
  if let minimum = bounds[0] { bounded = try builder.step(.binary(Binary(.maximum)), [x, minimum], "lower") }
  return try builder.emit(.binary(Binary(.minimum)), [bounded, maximum])
}

/// x Φ(x), or the approximation 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))).
private func importGelu(_ builder: GraphBuilder, _ call: OnnxCall) throws(ImportFailure) -> [ValueID] {
  let x = try call.input(0), form = try call.string("approximate", default: "none")
  switch form {
  case "none": return try builder.emit(.unary(Unary(.gelu)), [x])
  case "tanh": break
  default: throw ImportFailure("attribute 'approximate' is '\(form)'")
  }
  func scaled(_ value: ValueID, _ factor: Float, _ suffix: String) throws(ImportFailure) -> ValueID {
    try builder.step(
      .binary(Binary(.multiply)), [value, builder.floatConstant([factor], "\(suffix)-factor")], suffix)
  }
  let square = try builder.step(.binary(Binary(.multiply)), [x, x], "square")
  let cube = try builder.step(.binary(Binary(.multiply)), [square, x], "cube")
  let sum = try builder.step(.binary(Binary(.add)), [x, scaled(cube, 0.044715, "cubic")], "sum")
  let tanh = try builder.step(.unary(Unary(.tanh)), [scaled(sum, 0.797_884_56, "argument")], "tanh")
  let gate = try builder.step(.binary(Binary(.add)), [tanh, builder.floatConstant([1], "one")], "gate")
  return try builder.emit(.binary(Binary(.multiply)), [scaled(x, 0.5, "half"), gate])
}
