import IR

let convolutionOperators: [OnnxOperator] = [
  OnnxOperator(
    "Conv", [1, 11, 22], "conv2d; one-dimensional ones gain an axis of extent 1", importConvolution),
  OnnxOperator(
    "ConvTranspose", [1, 11, 22], "conv-transpose2d; one-dimensional ones gain an axis of extent 1",
    importTransposedConvolution),
]

/// The window attributes that convolutions and poolings share, for two spatial axes.
struct WindowAttributes {
  var kernel: [Int]
  var strides: [Int]
  var dilations: [Int]
  /// Top, left, bottom, right.
  var pads: [Int]
  /// `SAME_UPPER`, `SAME_LOWER`, `VALID` or `NOTSET`.
  var autoPad: String

  /// Reads the attributes for an input of `spatialRank` (1 or 2) spatial axes; a missing first axis has extent 1.
  init(_ call: OnnxCall, kernel: [Int]) throws(ImportFailure) {
    let rank = kernel.count
    strides = try call.sizes("strides", count: rank, default: 1, minimum: 1)
    dilations = try call.sizes("dilations", count: rank, default: 1, minimum: 1)
    pads = try call.sizes("pads", count: 2 * rank, default: 0, minimum: 0)
    autoPad = try call.string("auto_pad", default: "NOTSET")
    guard ["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"].contains(autoPad) else {
      throw ImportFailure("attribute 'auto_pad' is '\(autoPad)'")
    }
    guard kernel.allSatisfy({ (1...(1 << 24)).contains($0) }) else {
      throw ImportFailure("the window has sizes \(kernel)")
    }
    self.kernel = kernel
    if autoPad != "NOTSET" { pads = Array(repeating: 0, count: 2 * rank) }
    if rank == 1 {
      self.kernel = [1] + kernel
      strides = [1] + strides
      dilations = [1] + dilations
      pads = [0, pads[0], 0, pads[1]]
    }
  }

  /// Resolves `auto_pad` against the input's height and width: as many outputs as strides fit in the input.
  mutating func resolvePads(_ input: Shape) throws(ImportFailure) {
    guard autoPad == "SAME_UPPER" || autoPad == "SAME_LOWER" else { return }
    for axis in 0..<2 {
      guard let size = input.size(axis + 2) else {
        throw ImportFailure("auto_pad needs a fixed height and width")
      }
      let outputs = (size + strides[axis] - 1) / strides[axis]
      let total = max(0, (outputs - 1) * strides[axis] + (kernel[axis] - 1) * dilations[axis] + 1 - size)
      let before = autoPad == "SAME_UPPER" ? total / 2 : total - total / 2
      pads[axis] = before
      pads[axis + 2] = total - before
    }
  }
}

/// Gives [N, C, L] a height of 1, or hands [N, C, H, W] on.
func liftedToTwoDimensions(
  _ value: ValueID, _ builder: GraphBuilder, _ suffix: String
) throws(ImportFailure) -> ValueID {
  switch builder.rank(value) {
  case 4: return value
  case 3:
    if let constant = builder.graph.constant(value), let sizes = constant.type.shape.sizes {
      // Weights keep being constants.
      let lifted = Shape([sizes[0], sizes[1], 1, sizes[2]])
      return try builder.addConstant(
        Constant(
          name: "\(constant.name).lifted", type: constant.type.with(shape: lifted), storage: constant.storage)
      )
    }
    var unsqueeze = Unsqueeze()
    unsqueeze.axes = [2]
    return try builder.step(.unsqueeze(unsqueeze), [value], suffix)
  default:
    throw ImportFailure(
      "its input has shape \(builder.shape(value))", hint: "one and two spatial dimensions are supported")
  }
}

/// Emits a two-dimensional operation for an input that had `rank` axes.
func emitWindowed(
  _ op: Op, _ operands: [ValueID], rank: Int, _ builder: GraphBuilder
) throws(ImportFailure) -> [ValueID] {
  if rank == 4 { return try builder.emit(op, operands) }
  let result = try builder.step(op, operands, "lifted")
  var squeeze = Squeeze()
  squeeze.axes = [2]
  return try builder.emit(.squeeze(squeeze), [result])
}

private func importConvolution(_ builder: GraphBuilder, _ call: OnnxCall) throws(ImportFailure) -> [ValueID] {
  try call.requireInputs(2...3)
  let x = try call.input(0), weights = try call.input(1), rank = builder.rank(x)
  guard builder.rank(weights) == rank, (3...4).contains(rank), let shape = builder.shape(weights).sizes else {
    throw ImportFailure(
      "its input has shape \(builder.shape(x)), its weights \(builder.shape(weights))",
      hint: "one and two spatial dimensions and weights of fixed size are supported")
  }
  let kernel = Array(shape.dropFirst(2))
  if let declared = try call.ints("kernel_shape"), declared != kernel {
    throw ImportFailure("attribute 'kernel_shape' is \(declared), but the weights have shape \(shape)")
  }
  var window = try WindowAttributes(call, kernel: kernel)
  var convolution = Conv2D()
  convolution.groups = try groups(call)
  let lifted = try liftedToTwoDimensions(x, builder, "input")
  try window.resolvePads(builder.shape(lifted))
  convolution.strides = window.strides
  convolution.dilations = window.dilations
  convolution.pads = window.pads
  var operands = [lifted, try liftedToTwoDimensions(weights, builder, "weights")]
  if let bias = call.optionalInput(2) { operands.append(bias) }
  return try emitWindowed(.conv2d(convolution), operands, rank: rank, builder)
}

private func importTransposedConvolution(
  _ builder: GraphBuilder, _ call: OnnxCall
) throws(ImportFailure) -> [ValueID] {
  try call.requireInputs(2...3)
  let x = try call.input(0), weights = try call.input(1), rank = builder.rank(x)
  guard builder.rank(weights) == rank, (3...4).contains(rank), let shape = builder.shape(weights).sizes else {
    throw ImportFailure(
      "its input has shape \(builder.shape(x)), its weights \(builder.shape(weights))",
      hint: "one and two spatial dimensions and weights of fixed size are supported")
  }
  let kernel = Array(shape.dropFirst(2))
  if let declared = try call.ints("kernel_shape"), declared != kernel {
    throw ImportFailure("attribute 'kernel_shape' is \(declared), but the weights have shape \(shape)")
  }
  let window = try WindowAttributes(call, kernel: kernel)
  var outputPads = try call.sizes("output_padding", count: rank - 2, default: 0, minimum: 0)
  var outputShape =
    try call.has("output_shape") ? call.sizes("output_shape", count: rank - 2, default: 1, minimum: 1) : nil
  if rank == 3 {
    outputPads = [0] + outputPads
    outputShape = outputShape.map { [1] + $0 }
  }
  var convolution = ConvTranspose2D()
  convolution.groups = try groups(call)
  convolution.strides = window.strides
  convolution.dilations = window.dilations
  convolution.pads = window.pads
  convolution.outputPads = outputPads
  let lifted = try liftedToTwoDimensions(x, builder, "input")
  for axis in 0..<2 {
    guard let size = builder.shape(lifted).size(axis + 2) else {
      throw ImportFailure("its input must have a fixed height and width")
    }
    guard size <= 1 << 24 else { throw ImportFailure("its input of shape \(builder.shape(x)) is too large") }
    let isSame = window.autoPad.hasPrefix("SAME")
    guard outputShape != nil || isSame else { continue }
    let natural =
      (size - 1) * window.strides[axis] + outputPads[axis] + (window.kernel[axis] - 1)
      * window.dilations[axis] + 1
    let total = natural - (outputShape?[axis] ?? size * window.strides[axis])
    if total >= 0 {
      // As in ONNX Runtime: the odd one goes behind only for SAME_UPPER.
      let before = window.autoPad == "SAME_UPPER" ? total / 2 : total - total / 2
      convolution.pads[axis] = before
      convolution.pads[axis + 2] = total - before
    } else {
      convolution.pads[axis] = 0
      convolution.pads[axis + 2] = 0
      convolution.outputPads[axis] -= total
    }
  }
  var operands = [lifted, try liftedToTwoDimensions(weights, builder, "weights")]
  if let bias = call.optionalInput(2) { operands.append(bias) }
  return try emitWindowed(.convTranspose2d(convolution), operands, rank: rank, builder)
}

/// Bounded, so that channels times groups cannot overflow.
private func groups(_ call: OnnxCall) throws(ImportFailure) -> Int {
  let groups = try call.int("group", default: 1)
  guard (1...(1 << 20)).contains(groups) else { throw ImportFailure("attribute 'group' is \(groups)") }
  return groups
}
