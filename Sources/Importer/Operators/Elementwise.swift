import IR

let elementwiseOperators: [OnnxOperator] = [
  OnnxOperator("Add", [7, 13, 14], "add", binary(.add)),
  OnnxOperator("Sub", [7, 13, 14], "subtract", binary(.subtract)),
  OnnxOperator("Mul", [7, 13, 14], "multiply", binary(.multiply)),
  OnnxOperator("Div", [7, 13, 14], "divide", binary(.divide)),
  OnnxOperator("And", [7], "and", binary(.and)),
  OnnxOperator("Or", [7], "or", binary(.or)),
  OnnxOperator("Equal", [7, 11, 13], "equal", binary(.equal)),
  OnnxOperator("Less", [7, 9, 13], "less", binary(.less)),
  OnnxOperator("Greater", [7, 9, 13], "greater", binary(.greater)),
  OnnxOperator("LessOrEqual", [12, 16], "less or equal", comparisonOrEqual(.less)),
  OnnxOperator("GreaterOrEqual", [12, 16], "greater or equal", comparisonOrEqual(.greater)),
  OnnxOperator("Xor", [7], "not equal") { builder, call throws(ImportFailure) in
    try call.requireInputs(2...2)
    let equal = try builder.step(.binary(Binary(.equal)), call.allInputs(), "equal")
    return try builder.emit(.unary(Unary(.not)), [equal])
  },
  OnnxOperator("Pow", [7, 12, 13, 15], "power; the exponent takes the base's type") {
    builder, call throws(ImportFailure) in
    try call.requireInputs(2...2)
    let base = try call.input(0)
    var exponent = try call.input(1)
    if builder.type(exponent).element != builder.type(base).element {
      exponent = try builder.step(.cast(castTo(builder.type(base).element)), [exponent], "exponent")
    }
    return try builder.emit(.binary(Binary(.power)), [base, exponent])
  },
  OnnxOperator("Sum", [6, 8, 13], "chain of add", variadic(.add)),
  OnnxOperator("Max", [6, 8, 12, 13], "chain of maximum", variadic(.maximum)),
  OnnxOperator("Min", [6, 8, 12, 13], "chain of minimum", variadic(.minimum)),
  OnnxOperator("Mean", [6, 8, 13], "chain of add, then multiply") { builder, call throws(ImportFailure) in
    let inputs = try call.allInputs()
    guard var sum = inputs.first else { throw ImportFailure("has no inputs") }
    for (index, input) in inputs.enumerated().dropFirst() {
      sum = try builder.step(.binary(Binary(.add)), [sum, input], "sum\(index)")
    }
    return try builder.emit(
      .binary(Binary(.divide)), [sum, builder.floatConstant([Float(inputs.count)], "count")])
  },
  OnnxOperator("Neg", [6, 13], "negate", unary(.negate)),
  OnnxOperator("Abs", [6, 13], "abs", unary(.abs)),
  OnnxOperator("Floor", [6, 13], "floor", unary(.floor)),
  OnnxOperator("Ceil", [6, 13], "ceil", unary(.ceil)),
  OnnxOperator("Sign", [9, 13], "sign", unary(.sign)),
  OnnxOperator("Reciprocal", [6, 13], "reciprocal", unary(.reciprocal)),
  OnnxOperator("Exp", [6, 13], "exp", unary(.exp)),
  OnnxOperator("Log", [6, 13], "log", unary(.log)),
  OnnxOperator("Sqrt", [6, 13], "sqrt", unary(.sqrt)),
  OnnxOperator("Erf", [9, 13], "erf", unary(.erf)),
  OnnxOperator("Not", [1], "not", unary(.not)),
  OnnxOperator("Where", [9, 16], "where") { builder, call throws(ImportFailure) in
    try call.requireInputs(3...3)
    return try builder.emit(.select(Select()), call.allInputs())
  },
]

private func binary(
  _ function: Binary.Function
) -> @Sendable (GraphBuilder, OnnxCall) throws(ImportFailure) -> [ValueID] {
  { builder, call throws(ImportFailure) in
    try call.requireInputs(2...2)
    return try builder.emit(.binary(Binary(function)), call.allInputs())
  }
}

private func comparisonOrEqual(
  _ function: Binary.Function
) -> @Sendable (GraphBuilder, OnnxCall) throws(ImportFailure) -> [ValueID] {
  { builder, call throws(ImportFailure) in
    try call.requireInputs(2...2)
    let operands = try call.allInputs()
    let strict = try builder.step(.binary(Binary(function)), operands, "strict")
    let equal = try builder.step(.binary(Binary(.equal)), operands, "equal")
    return try builder.emit(.binary(Binary(.or)), [strict, equal])
  }
}

private func variadic(
  _ function: Binary.Function
) -> @Sendable (GraphBuilder, OnnxCall) throws(ImportFailure) -> [ValueID] {
  { builder, call throws(ImportFailure) in
    let inputs = try call.allInputs()
    guard var result = inputs.first else { throw ImportFailure("has no inputs") }
    guard inputs.count > 1, let last = inputs.last else {
      return try builder.emit(.identity(Identity()), [result])
    }
    for (index, input) in inputs.enumerated().dropFirst().dropLast() {
      result = try builder.step(.binary(Binary(function)), [result, input], "\(function.rawValue)\(index)")
    }
    return try builder.emit(.binary(Binary(function)), [result, last])
  }
}
