import IR

let constantOperators: [OnnxOperator] = [
  OnnxOperator(
    "Constant", [1, 9, 11, 12, 13, 19, 21, 23, 24, 25], "a constant; no sparse ones and no texts",
    importConstant),
  OnnxOperator("Identity", [1, 13, 14, 16, 19, 21, 23, 24, 25], "identity") {
    builder, call throws(ImportFailure) in
    try call.requireInputs(1...1)
    return try builder.emit(.identity(Identity()), [call.input(0)])
  },
]

private func importConstant(_ builder: GraphBuilder, _ call: OnnxCall) throws(ImportFailure) -> [ValueID] {
  try call.requireInputs(0...0)
  guard call.node.attributes.count == 1, let name = call.node.attributes.first?.name,
    let value = call.attribute(name)
  else {
    throw ImportFailure("it must have exactly one attribute")
  }
  let result = call.node.outputs.first ?? ""
  switch (name, value) {
  case ("value", .tensor(let tensor)):
    guard let constant = tensor.constant(named: result) else {
      throw ImportFailure("constants of type \(tensor.type.name) are not supported")
    }
    return [try builder.addConstant(constant)]
  case ("value_float", .float(let value)): return [try builder.addConstant(Constant(result, [], [value]))]
  case ("value_floats", .floats(let values)):
    return [try builder.addConstant(Constant(result, [values.count], values))]
  case ("value_int", .int(let value)): return [try builder.addConstant(Constant(result, [], [Int64(value)]))]
  case ("value_ints", .ints(let values)):
    return [try builder.addConstant(Constant(result, [values.count], values.map { Int64($0) }))]
  default: throw ImportFailure("its attribute '\(name)' is not supported")
  }
}
