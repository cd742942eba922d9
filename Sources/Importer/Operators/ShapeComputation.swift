import IR

let shapeComputationOperators: [OnnxOperator] = [
  OnnxOperator("Shape", [1, 13, 15, 19, 21, 23, 24, 25], "shape") { builder, call throws(ImportFailure) in
    var shape = ShapeOf()
    shape.start = try call.int("start", default: 0)
    shape.end = try call.int("end", default: Int(Int32.max))
    return try builder.emit(.shapeOf(shape), [call.input(0)])
  },
  OnnxOperator("Size", [1, 13, 19, 21, 23, 24, 25], "reduce-prod of shape") {
    builder, call throws(ImportFailure) in
    let shape = try builder.step(.shapeOf(ShapeOf()), [call.input(0)], "shape")
    var product = Reduce(.product)
    product.keepDimensions = false
    return try builder.emit(.reduce(product), [shape])
  },
  OnnxOperator("Cast", [6, 9, 13, 19, 21, 23, 24, 25, 28], "cast; to narrower floats: to f32", importCast),
  OnnxOperator("CastLike", [15, 19, 21, 23, 24, 25], "cast") { builder, call throws(ImportFailure) in
    try call.requireInputs(2...2)
    ignoreNarrowFloatRounding(call)
    return try builder.emit(.cast(castTo(builder.type(call.input(1)).element)), [call.input(0)])
  },
  OnnxOperator("ConstantOfShape", [9, 20, 21, 23, 24, 25], "constant-of-shape", importConstantOfShape),
  OnnxOperator("Range", [11, 27], "a constant, where its bounds are known", importRange),
]

/// The cast to an element type of imported graphs.
func castTo(_ element: ElementType) -> Cast {
  var cast = Cast()
  switch element {
  case .f32, .quantized: cast.to = .f32
  case .i64: cast.to = .i64
  case .i32: cast.to = .i32
  case .u8: cast.to = .u8
  case .i8: cast.to = .i8
  case .bool: cast.to = .bool
  }
  return cast
}

/// Attributes that only concern floats of 8 bits and less.
private func ignoreNarrowFloatRounding(_ call: OnnxCall) {
  call.ignore("saturate")
  call.ignore("round_mode")
}

private func importCast(_ builder: GraphBuilder, _ call: OnnxCall) throws(ImportFailure) -> [ValueID] {
  try call.requireInputs(1...1)
  ignoreNarrowFloatRounding(call)
  let code = try call.int("to", default: 0)
  guard let type = Int32(exactly: code).flatMap(OnnxDataType.init(rawValue:)), let element = type.element,
    type.bits ?? 0 >= 8
  else { throw ImportFailure("casts to the data type \(code) are not supported") }
  return try builder.emit(.cast(castTo(element)), [call.input(0)])
}

private func importConstantOfShape(
  _ builder: GraphBuilder, _ call: OnnxCall
) throws(ImportFailure) -> [ValueID] {
  try call.requireInputs(1...1)
  var operation = ConstantOfShape()
  switch call.attribute("value") {
  case nil: break
  case .tensor(let tensor):
    guard tensor.elementCount == 1, let constant = tensor.constant(named: "value") else {
      throw ImportFailure(
        "attribute 'value' must be one number, is a \(tensor.type.name) tensor of shape \(tensor.dimensions)")
    }
    operation.type = castTo(constant.type.element).to
    if constant.type.element == .f32 {
      operation.value = constant.floats[0]
    } else {
      guard let value = constant.integers?.first, let exact = Float(exactly: value) else {
        throw ImportFailure("attribute 'value' is an integer beyond 2^24")
      }
      operation.value = exact
    }
  default: throw ImportFailure("attribute 'value' is not a tensor")
  }
  return try builder.emit(.constantOfShape(operation), [call.input(0)])
}

private func importRange(_ builder: GraphBuilder, _ call: OnnxCall) throws(ImportFailure) -> [ValueID] {
  try call.requireInputs(3...3)
  call.ignore("stash_type")
  let element = builder.type(try call.input(0)).element, limit = 1 << 24
  if element == .f32 {
    var bounds: [Float] = []
    for index in 0..<3 {
      guard let value = builder.constantFloats(try call.input(index)), value.count == 1 else {
        throw ImportFailure("its bounds are computed from the input's values")
      }
      bounds.append(value[0])
    }
    let count = ((Double(bounds[1]) - Double(bounds[0])) / Double(bounds[2])).rounded(.up)
    guard count < Double(limit), !count.isNaN else {
      throw ImportFailure("it has more than \(limit) elements")
    }
    let values = (0..<max(0, Int(count))).map { bounds[0] + Float($0) * bounds[2] }
    return [try builder.addConstant(Constant(call.node.outputs.first ?? "", [values.count], values))]
  }
  var bounds: [Int] = []
  for index in 0..<3 {
    let value = try builder.integers(call.input(index), "bounds")
    guard value.count == 1, value[0].magnitude <= UInt(1 << 40) else {
      throw ImportFailure("a bound is \(value)")
    }
    bounds.append(value[0])
  }
  guard bounds[2] != 0 else { throw ImportFailure("its step is 0") }
  let span = bounds[1] - bounds[0], count = max(0, (span + bounds[2] - (bounds[2] > 0 ? 1 : -1)) / bounds[2])
  guard count <= limit else { throw ImportFailure("it has more than \(limit) elements") }
  let values = (0..<count).map { bounds[0] + $0 * bounds[2] }, name = call.node.outputs.first ?? ""
  let constant =
    element == .i32
    ? Constant(name, [count], values.map { Int32(truncatingIfNeeded: $0) })
    : Constant(name, [count], values.map { Int64($0) })
  return [try builder.addConstant(constant)]
}
