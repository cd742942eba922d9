import IR

let reductionOperators: [OnnxOperator] = [
  OnnxOperator("ReduceMean", [1, 11, 13, 18], "reduce-mean", reduction(.mean)),
  OnnxOperator("ReduceSum", [1, 11, 13], "reduce-sum", reduction(.sum)),
  OnnxOperator("ReduceMax", [1, 11, 12, 13, 18, 20], "reduce-max", reduction(.maximum)),
  OnnxOperator("ReduceMin", [1, 11, 12, 13, 18, 20], "reduce-min", reduction(.minimum)),
  OnnxOperator("ReduceProd", [1, 11, 13, 18], "reduce-prod", reduction(.product)),
  OnnxOperator("ReduceL2", [1, 11, 13, 18], "reduce-l2", reduction(.l2)),
  OnnxOperator("ReduceL1", [1, 11, 13, 18], "reduce-sum of abs") { builder, call throws(ImportFailure) in
    let magnitude = try builder.step(.unary(Unary(.abs)), [call.input(0)], "abs")
    return try reduced(builder, call, .sum, magnitude)
  },
  OnnxOperator("ReduceSumSquare", [1, 11, 13, 18], "reduce-sum of squares") {
    builder, call throws(ImportFailure) in
    let x = try call.input(0)
    return try reduced(builder, call, .sum, builder.step(.binary(Binary(.multiply)), [x, x], "square"))
  },
  OnnxOperator("Softmax", [1, 11, 13], "softmax", softmax(isLogarithmic: false)),
  OnnxOperator("LogSoftmax", [1, 11, 13], "log-softmax", softmax(isLogarithmic: true)),
]

private func reduction(
  _ function: Reduce.Function
) -> @Sendable (GraphBuilder, OnnxCall) throws(ImportFailure) -> [ValueID] {
  { builder, call throws(ImportFailure) in try reduced(builder, call, function, call.input(0)) }
}

/// Axes are an attribute; from operator set 13 on an input of ReduceSum, from 18 on of all.
private func reduced(
  _ builder: GraphBuilder, _ call: OnnxCall, _ function: Reduce.Function, _ x: ValueID
) throws(ImportFailure) -> [ValueID] {
  var reduce = Reduce(function)
  if call.opset >= (call.node.operatorName == "ReduceSum" ? 13 : 18) {
    try call.requireInputs(1...2)
    if let axes = call.optionalInput(1) { reduce.axes = try builder.integers(axes, "axes") }
    if reduce.axes.isEmpty, try call.flag("noop_with_empty_axes") {
      return try builder.emit(.identity(Identity()), [x])
    }
    call.ignore("noop_with_empty_axes")
  } else {
    try call.requireInputs(1...1)
    reduce.axes = try call.ints("axes") ?? []
  }
  reduce.keepDimensions = try call.flag("keepdims", default: true)
  return try builder.emit(.reduce(reduce), [x])
}

/// Before operator set 13 all axes from `axis` (1) on count as one; since then only `axis` (the last) does.
private func softmax(
  isLogarithmic: Bool
) -> @Sendable (GraphBuilder, OnnxCall) throws(ImportFailure) -> [ValueID] {
  { builder, call throws(ImportFailure) in
    try call.requireInputs(1...1)
    var softmax = Softmax()
    softmax.isLogarithmic = isLogarithmic
    softmax.flatten = call.opset < 13
    softmax.axis = try call.int("axis", default: call.opset < 13 ? 1 : -1)
    return try builder.emit(.softmax(softmax), [call.input(0)])
  }
}
