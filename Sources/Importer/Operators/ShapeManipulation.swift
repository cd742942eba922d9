import IR

let shapeManipulationOperators: [OnnxOperator] = [
  OnnxOperator("Reshape", [5, 13, 14, 19, 21, 23, 24, 25], "reshape", importReshape),
  OnnxOperator("Flatten", [1, 9, 11, 13, 21, 23, 24, 25], "flatten") { builder, call throws(ImportFailure) in
    var flatten = Flatten()
    flatten.axis = try call.int("axis", default: 1)
    return try builder.emit(.flatten(flatten), [call.input(0)])
  },
  OnnxOperator("Transpose", [1, 13, 21, 23, 24, 25], "transpose") { builder, call throws(ImportFailure) in
    let x = try call.input(0)
    var transpose = Transpose()
    transpose.permutation = try call.ints("perm") ?? (0..<builder.rank(x)).reversed()
    return try builder.emit(.transpose(transpose), [x])
  },
  OnnxOperator("Squeeze", [1, 11, 13, 21, 23, 24, 25], "squeeze") { builder, call throws(ImportFailure) in
    var squeeze = Squeeze()
    squeeze.axes = try axes(builder, call) ?? []
    return try builder.emit(.squeeze(squeeze), [call.input(0)])
  },
  OnnxOperator("Unsqueeze", [1, 11, 13, 21, 23, 24, 25], "unsqueeze") { builder, call throws(ImportFailure) in
    var unsqueeze = Unsqueeze()
    guard let axes = try axes(builder, call) else { throw ImportFailure("its axes are missing") }
    unsqueeze.axes = axes
    return try builder.emit(.unsqueeze(unsqueeze), [call.input(0)])
  },
  OnnxOperator("Concat", [4, 11, 13], "concat") { builder, call throws(ImportFailure) in
    guard call.has("axis") else { throw ImportFailure("attribute 'axis' is missing") }
    var concat = Concat()
    concat.axis = try call.int("axis", default: 0)
    return try builder.emit(.concat(concat), call.allInputs())
  },
  OnnxOperator("Split", [2, 11, 13, 18], "split", importSplit),
  OnnxOperator("Slice", [1, 10, 11, 13], "slice", importSlice),
  OnnxOperator("Pad", [2, 11, 13, 18, 19, 21, 23, 24, 25], "pad: constant, reflect and edge", importPad),
  OnnxOperator("Gather", [1, 11, 13], "gather") { builder, call throws(ImportFailure) in
    try call.requireInputs(2...2)
    var gather = Gather()
    gather.axis = try call.int("axis", default: 0)
    return try builder.emit(.gather(gather), call.allInputs())
  },
  OnnxOperator("Expand", [8, 13], "expand") { builder, call throws(ImportFailure) in
    try call.requireInputs(2...2)
    return try builder.emit(.expand(Expand()), call.allInputs())
  },
  OnnxOperator("Tile", [6, 13], "concat with itself, where the repeats are known", importTile),
  OnnxOperator("DepthToSpace", [1, 11, 13, 28], "reshape, transpose, reshape", importDepthToSpace),
  OnnxOperator("SpaceToDepth", [1, 13, 28], "reshape, transpose, reshape", importSpaceToDepth),
]

/// An attribute before operator set 13, an input from then on.
private func axes(_ builder: GraphBuilder, _ call: OnnxCall) throws(ImportFailure) -> [Int]? {
  if call.opset < 13 {
    try call.requireInputs(1...1)
    return try call.ints("axes")
  }
  try call.requireInputs(1...2)
  guard let axes = call.optionalInput(1) else { return nil }
  return try builder.integers(axes, "axes")
}

private func importReshape(_ builder: GraphBuilder, _ call: OnnxCall) throws(ImportFailure) -> [ValueID] {
  try call.requireInputs(2...2)
  let x = try call.input(0), target = try call.input(1)
  var reshape = Reshape()
  reshape.allowZero = try call.flag("allowzero")
  if builder.generalizesBatch, builder.shape(x).extents.first == .batch,
    let wanted = builder.graph.operand(target).integers, wanted.first == 1
  {
    // The batch of one that the exporter wrote into the shape.
    reshape.shape = Shape([.batch] + wanted.dropFirst().map { .known($0) })
    return try builder.emit(.reshape(reshape), [x])
  }
  return try builder.emit(.reshape(reshape), [x, target])
}

private func importSplit(_ builder: GraphBuilder, _ call: OnnxCall) throws(ImportFailure) -> [ValueID] {
  let x = try call.input(0)
  var split = Split()
  split.axis = try call.int("axis", default: 0)
  if call.opset < 13 {
    try call.requireInputs(1...1)
    split.sizes = try call.ints("split") ?? []
  } else {
    try call.requireInputs(1...2)
    if let sizes = call.optionalInput(1) { split.sizes = try builder.integers(sizes, "sizes") }
  }
  if split.sizes.isEmpty {
    let axis = try builder.axis(split.axis, x)
    let parts =
      try call.opset < 18
      ? call.node.outputs.count : call.int("num_outputs", default: call.node.outputs.count)
    // From operator set 18 on the last part may be smaller.
    guard let size = builder.shape(x).size(axis), (1...65_536).contains(parts),
      size % parts == 0 || call.opset >= 18
    else {
      throw ImportFailure(
        "shape \(builder.shape(x)) does not split into \(parts) equal parts along axis \(axis)")
    }
    let part = (size + parts - 1) / parts
    split.sizes = (0..<parts).map { max(0, min(part, size - $0 * part)) }
  }
  guard split.sizes.count >= call.outputCount else {
    throw ImportFailure("it has \(call.outputCount) outputs, but \(split.sizes.count) sizes")
  }
  return try builder.emit(.split(split), [x])
}

/// Lists are attributes before operator set 10, inputs from then on.
private func importSlice(_ builder: GraphBuilder, _ call: OnnxCall) throws(ImportFailure) -> [ValueID] {
  let x = try call.input(0)
  var slice = Slice()
  if call.opset < 10 {
    try call.requireInputs(1...1)
    guard let starts = try call.ints("starts"), let ends = try call.ints("ends") else {
      throw ImportFailure("attributes 'starts' and 'ends' are missing")
    }
    slice.starts = starts
    slice.ends = ends
    slice.axes = try call.ints("axes") ?? []
    return try builder.emit(.slice(slice), [x])
  }
  try call.requireInputs(3...5)
  var operands = [x, try call.input(1), try call.input(2)]
  if let axes = call.optionalInput(3) {
    operands.append(axes)
  } else if call.optionalInput(4) != nil {
    // Steps come fifth: spell out the axes that were left out.
    let count = try builder.integers(call.input(1), "starts").count
    operands.append(builder.integerConstant(Array(0..<count), "axes"))
  }
  if let steps = call.optionalInput(4) { operands.append(steps) }
  return try builder.emit(.slice(slice), operands)
}

/// Pads and value are attributes before operator set 11, inputs from then on.
private func importPad(_ builder: GraphBuilder, _ call: OnnxCall) throws(ImportFailure) -> [ValueID] {
  let x = try call.input(0), mode = try call.string("mode", default: "constant")
  var pad = Pad()
  guard let known = Pad.Mode(rawValue: mode) else { throw ImportFailure("mode '\(mode)' is not supported") }
  pad.mode = known
  if call.opset < 11 {
    try call.requireInputs(1...1)
    guard let pads = try call.ints("pads") else { throw ImportFailure("attribute 'pads' is missing") }
    guard pads.allSatisfy({ $0.magnitude < 1 << 24 }) else {
      throw ImportFailure("attribute 'pads' is \(pads)")
    }
    pad.pads = pads
    pad.value = try call.float("value", default: 0)
    return try builder.emit(.pad(pad), [x])
  }
  try call.requireInputs(call.opset < 18 ? 2...3 : 2...4)
  if let value = call.optionalInput(2) {
    if let floats = builder.constantFloats(value), floats.count == 1 {
      pad.value = floats[0]
    } else {
      let integers = try builder.integers(value, "padding values")
      guard integers.count == 1, let exact = Float(exactly: integers[0]) else {
        throw ImportFailure("its padding value is \(integers)")
      }
      pad.value = exact
    }
  }
  guard let chosen = call.optionalInput(3) else { return try builder.emit(.pad(pad), [x, call.input(1)]) }
  let axes = try builder.integers(chosen, "axes"), pads = try builder.integers(call.input(1), "pads"),
    rank = builder.rank(x)
  guard pads.count == 2 * axes.count, pads.allSatisfy({ $0.magnitude < 1 << 24 }) else {
    throw ImportFailure("its pads are \(pads) for axes \(axes)")
  }
  pad.pads = Array(repeating: 0, count: 2 * rank)
  for (index, axis) in axes.enumerated() {
    let axis = try builder.axis(axis, x)
    pad.pads[axis] = pads[index]
    pad.pads[axis + rank] = pads[index + axes.count]
  }
  return try builder.emit(.pad(pad), [x])
}

private func importTile(_ builder: GraphBuilder, _ call: OnnxCall) throws(ImportFailure) -> [ValueID] {
  try call.requireInputs(2...2)
  var x = try call.input(0)
  let repeats = try builder.integers(call.input(1), "repeats"), limit = 4096
  guard repeats.count == builder.rank(x), repeats.allSatisfy({ (1...limit).contains($0) }) else {
    throw ImportFailure("its repeats are \(repeats) for shape \(builder.shape(x))")
  }
  for (axis, count) in repeats.enumerated() where count > 1 {
    var concat = Concat()
    concat.axis = axis
    x = try builder.step(.concat(concat), Array(repeating: x, count: count), "axis\(axis)")
  }
  return try builder.emit(.identity(Identity()), [x])
}

/// Height, width, channels and block size of a [N, C, H, W] input.
private func blocks(
  _ builder: GraphBuilder, _ call: OnnxCall
) throws(ImportFailure) -> (batch: Extent, channels: Int, height: Int, width: Int, block: Int) {
  try call.requireInputs(1...1)
  let shape = builder.shape(try call.input(0)), block = try call.int("blocksize", default: 0)
  guard shape.rank == 4, let channels = shape.size(1), let height = shape.size(2), let width = shape.size(3),
    (1...4096).contains(block)
  else { throw ImportFailure("shape \(shape) and blocksize \(block) are not supported") }
  return (shape[0], channels, height, width, block)
}

/// Reshapes, permutes and reshapes again.
private func rearranged(
  _ builder: GraphBuilder, _ call: OnnxCall, _ first: [Extent], _ permutation: [Int], _ last: [Extent]
) throws(ImportFailure) -> [ValueID] {
  var split = Reshape(), transpose = Transpose(), join = Reshape()
  split.shape = Shape(first)
  transpose.permutation = permutation
  join.shape = Shape(last)
  let blocks = try builder.step(.reshape(split), [call.input(0)], "blocks")
  let permuted = try builder.step(.transpose(transpose), [blocks], "permuted")
  return try builder.emit(.reshape(join), [permuted])
}

private func importDepthToSpace(_ builder: GraphBuilder, _ call: OnnxCall) throws(ImportFailure) -> [ValueID]
{
  let (batch, channels, height, width, block) = try blocks(builder, call)
  let mode = try call.string("mode", default: "DCR")
  guard channels % (block * block) == 0, mode == "DCR" || mode == "CRD" else {
    throw ImportFailure("\(channels) channels, blocksize \(block) and mode '\(mode)' do not fit")
  }
  let depth = channels / (block * block), b = Extent.known(block)
  let last: [Extent] = [batch, .known(depth), .known(height * block), .known(width * block)]
  return mode == "DCR"
    ? try rearranged(
      builder, call, [batch, b, b, .known(depth), .known(height), .known(width)], [0, 3, 4, 1, 5, 2], last)
    : try rearranged(
      builder, call, [batch, .known(depth), b, b, .known(height), .known(width)], [0, 1, 4, 2, 5, 3], last)
}

private func importSpaceToDepth(_ builder: GraphBuilder, _ call: OnnxCall) throws(ImportFailure) -> [ValueID]
{
  let (batch, channels, height, width, block) = try blocks(builder, call)
  let mode = try call.string("mode", default: "DCR")
  guard mode == "DCR" || mode == "CRD" else { throw ImportFailure("mode '\(mode)' is not supported") }
  guard height % block == 0, width % block == 0 else {
    throw ImportFailure("height \(height) and width \(width) are no multiples of the blocksize \(block)")
  }
  let b = Extent.known(block), rows = Extent.known(height / block), columns = Extent.known(width / block)
  return try rearranged(
    builder, call, [batch, .known(channels), rows, b, columns, b],
    mode == "DCR" ? [0, 3, 5, 1, 2, 4] : [0, 1, 3, 5, 2, 4],
    [batch, .known(channels * block * block), rows, columns])
}
