import IR

let poolingOperators: [OnnxOperator] = [
  OnnxOperator("MaxPool", [1, 8, 10, 11, 12, 22], "max-pool, without indices", importMaxPool),
  OnnxOperator("AveragePool", [7, 10, 11, 19, 22], "average-pool, without dilations", importAveragePool),
  OnnxOperator("GlobalAveragePool", [1, 22], "global-average-pool") { builder, call throws(ImportFailure) in
    try call.requireInputs(1...1)
    return try builder.emit(.globalAveragePool(GlobalAveragePool()), [call.input(0)])
  },
  OnnxOperator("GlobalMaxPool", [1, 22], "reduce-max over the spatial axes") {
    builder, call throws(ImportFailure) in
    let x = try call.input(0)
    guard builder.rank(x) >= 3 else { throw ImportFailure("its input has shape \(builder.shape(x))") }
    var reduce = Reduce(.maximum)
    reduce.axes = Array(2..<builder.rank(x))
    return try builder.emit(.reduce(reduce), [x])
  },
]

/// The kernel of a pooling and its input, lifted to two spatial axes.
private func poolingWindow(
  _ builder: GraphBuilder, _ call: OnnxCall
) throws(ImportFailure) -> (window: WindowAttributes, input: ValueID) {
  try call.requireInputs(1...1)
  let x = try call.input(0)
  guard (3...4).contains(builder.rank(x)) else {
    throw ImportFailure(
      "its input has shape \(builder.shape(x))", hint: "one and two spatial dimensions are supported")
  }
  guard call.has("kernel_shape") else { throw ImportFailure("attribute 'kernel_shape' is missing") }
  let kernel = try call.sizes("kernel_shape", count: builder.rank(x) - 2, default: 1, minimum: 1)
  var window = try WindowAttributes(call, kernel: kernel)
  let lifted = try liftedToTwoDimensions(x, builder, "input")
  try window.resolvePads(builder.shape(lifted))
  return (window, lifted)
}

private func importMaxPool(_ builder: GraphBuilder, _ call: OnnxCall) throws(ImportFailure) -> [ValueID] {
  try call.requireOutputs(1)
  // Only the indices depend on the storage order.
  call.ignore("storage_order")
  let (window, input) = try poolingWindow(builder, call)
  var pool = MaxPool()
  pool.kernel = window.kernel
  pool.strides = window.strides
  pool.pads = window.pads
  pool.dilations = window.dilations
  pool.ceilMode = try call.flag("ceil_mode")
  return try emitWindowed(.maxPool(pool), [input], rank: builder.rank(call.input(0)), builder)
}

private func importAveragePool(_ builder: GraphBuilder, _ call: OnnxCall) throws(ImportFailure) -> [ValueID] {
  let (window, input) = try poolingWindow(builder, call)
  guard window.dilations == [1, 1] else { throw ImportFailure("attribute 'dilations' is not supported") }
  var pool = AveragePool()
  pool.kernel = window.kernel
  pool.strides = window.strides
  pool.pads = window.pads
  pool.countPads = try call.flag("count_include_pad")
  pool.ceilMode = try call.flag("ceil_mode")
  return try emitWindowed(.averagePool(pool), [input], rank: builder.rank(call.input(0)), builder)
}
