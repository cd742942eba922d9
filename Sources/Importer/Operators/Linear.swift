import IR

let linearOperators: [OnnxOperator] = [
  OnnxOperator("Gemm", [7, 9, 11, 13], "gemm") { builder, call throws(ImportFailure) in
    try call.requireInputs(call.opset < 11 ? 3...3 : 2...3)
    var gemm = Gemm()
    gemm.alpha = try call.float("alpha", default: 1)
    gemm.beta = try call.float("beta", default: 1)
    gemm.transposeA = try call.flag("transA")
    gemm.transposeB = try call.flag("transB")
    var operands = [try call.input(0), try call.input(1)]
    if let bias = call.optionalInput(2) { operands.append(bias) }
    return try builder.emit(.gemm(gemm), operands)
  },
  OnnxOperator("MatMul", [1, 9, 13], "matmul; vectors gain an axis of extent 1", importMatMul),
]

private func importMatMul(_ builder: GraphBuilder, _ call: OnnxCall) throws(ImportFailure) -> [ValueID] {
  try call.requireInputs(2...2)
  var left = try call.input(0), right = try call.input(1)
  let isRow = builder.rank(left) == 1, isColumn = builder.rank(right) == 1
  guard isRow || isColumn else { return try builder.emit(.matMul(MatMul()), [left, right]) }
  var unsqueeze = Unsqueeze(), squeeze = Squeeze()
  if isRow {
    unsqueeze.axes = [0]
    squeeze.axes.append(-2)
    left = try builder.step(.unsqueeze(unsqueeze), [left], "left")
  }
  if isColumn {
    unsqueeze.axes = [1]
    squeeze.axes.append(-1)
    right = try builder.step(.unsqueeze(unsqueeze), [right], "right")
  }
  let product = try builder.step(.matMul(MatMul()), [left, right], "product")
  return try builder.emit(.squeeze(squeeze), [product])
}
