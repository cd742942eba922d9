/// Passes its operand on: ONNX Identity, inference-time Dropout.
package struct Identity: SimpleOperation {
  package static let name = "identity"
  package var attributes: [Attribute<Self>] { [] }
  package init() {}

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 1...1)
    return [operands[0].type]
  }
  package func resultFacts(of operands: [Operand]) -> [[Extent]?] { [operands[0].fact] }
}

/// Gives the elements another shape, row-major. The shape comes from the attribute, or, in imported graphs, from a
/// second operand whose contents must be known; there 0 copies an extent (unless `allow-zero`) and -1 is inferred.
package struct Reshape: SimpleOperation {
  package static let name = "reshape"
  package var attributes: [Attribute<Self>] {
    [Attribute("shape", \.shape), Attribute("allow-zero", \.allowZero)]
  }
  package var shape: Shape = []
  package var allowZero = false
  package init() {}

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 1...2)
    var wanted = shape.extents
    if operands.count == 2 {
      guard let fact = operands[1].fact, !fact.contains(.unknown) else {
        throw VerificationError("reshape: the shape operand is not known at compile time")
      }
      wanted = fact
    }
    return [operands[0].type.with(shape: try resolve(wanted, operands[0].shape)).with(layoutOf: .rowMajor)]
  }

  private func resolve(_ wanted: [Extent], _ input: Shape) throws(VerificationError) -> Shape {
    var extents = wanted, inferred: Int?
    for (axis, extent) in wanted.enumerated() {
      switch extent {
      case .known(0) where !allowZero:
        try require(axis < input.rank, "extent 0 at axis \(axis) copies nothing: the input is \(input)")
        extents[axis] = input[axis]
      case .known(-1):
        try require(inferred == nil, "two extents are -1")
        inferred = axis
      case .known(let n): try require(n >= 0, "extent \(n) is negative")
      case .batch, .unknown: break
      }
    }
    let inputFixed = checkedProduct(input.extents.compactMap(\.value))
    let others = extents.enumerated().filter { $0.offset != inferred }.map(\.element)
    let outputFixed = checkedProduct(others.compactMap(\.value))
    guard let inputFixed, let outputFixed else { throw VerificationError("reshape: the sizes overflow") }
    if let inferred {
      let batchIsLeft = input.isBatched && !others.contains(.batch)
      if batchIsLeft && inputFixed == outputFixed {
        extents[inferred] = .batch
      } else {
        try require(
          !batchIsLeft && outputFixed > 0 && inputFixed % outputFixed == 0,
          "\(input) cannot take the shape \(Shape(wanted))")
        extents[inferred] = .known(inputFixed / outputFixed)
      }
    }
    let result = Shape(extents)
    let sameFixed = checkedProduct(extents.compactMap(\.value)) == inputFixed
    try require(
      sameFixed && extents.count { $0 == .batch } == input.extents.count { $0 == .batch },
      "\(input) cannot take the shape \(Shape(wanted))")
    return result
  }
  package func resultFacts(of operands: [Operand]) -> [[Extent]?] { [operands[0].fact] }
}

/// Joins the axes before `axis` and those from it on: a matrix.
package struct Flatten: SimpleOperation {
  package static let name = "flatten"
  package var attributes: [Attribute<Self>] { [Attribute("axis", \.axis)] }
  package var axis = 1
  package init() {}

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 1...1)
    let x = operands[0].shape
    let split = axis < 0 ? axis + x.rank : axis
    try require((0...x.rank).contains(split), "axis \(axis) is out of range for \(x)")
    func joined(_ extents: ArraySlice<Extent>) throws(VerificationError) -> Extent {
      guard let fixed = checkedProduct(extents.compactMap(\.value)) else {
        throw VerificationError("flatten: the sizes overflow")
      }
      guard extents.contains(.batch) else { return .known(fixed) }
      try require(fixed == 1, "the batch cannot be joined with other axes of \(x)")
      return .batch
    }
    let shape = Shape([try joined(x.extents[..<split]), try joined(x.extents[split...])])
    return [operands[0].type.with(shape: shape).with(layoutOf: .rowMajor)]
  }
}

package struct Transpose: SimpleOperation {
  package static let name = "transpose"
  package var attributes: [Attribute<Self>] { [Attribute("permutation", \.permutation)] }
  /// Result axis i is operand axis `permutation[i]`.
  package var permutation: [Int] = []
  package init() {}

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 1...1)
    let x = operands[0].shape
    try require(
      permutation.sorted() == Array(0..<x.rank), "\(permutation) is no permutation of the axes of \(x)")
    return [TensorType(Shape(permutation.map { x[$0] }), operands[0].type.element)]
  }
  package func resultFacts(of operands: [Operand]) -> [[Extent]?] {
    guard let fact = operands[0].fact, let sizes = operands[0].shape.sizes,
      fact.count == checkedProduct(sizes)
    else {
      return [nil]
    }
    let strides = rowMajorStrides(sizes)
    return [
      gathered(fact, counts: permutation.map { sizes[$0] }, strides: permutation.map { strides[$0] }, from: 0)
    ]
  }
}

private func rowMajorStrides(_ sizes: [Int]) -> [Int] {
  var strides = sizes.map { _ in 1 }
  // Wraps only where an extent is 0 and there is no element.
  for axis in sizes.indices.dropLast().reversed() { strides[axis] = strides[axis + 1] &* sizes[axis + 1] }
  return strides
}

/// The entries of `fact` at `start` plus every combination of steps, row-major over `counts`.
private func gathered(_ fact: [Extent], counts: [Int], strides: [Int], from start: Int) -> [Extent] {
  var positions = [start]
  for (count, stride) in zip(counts, strides) {
    positions = positions.flatMap { position in (0..<count).map { position + $0 * stride } }
  }
  return positions.map { fact[$0] }
}

/// Removes axes of extent 1 (`axes` empty: all of them).
package struct Squeeze: SimpleOperation {
  package static let name = "squeeze"
  package var attributes: [Attribute<Self>] { [Attribute("axes", \.axes)] }
  package var axes: [Int] = []
  package init() {}

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 1...1)
    let x = operands[0].shape
    let removed =
      axes.isEmpty
      ? (0..<x.rank).filter { x[$0] == .known(1) } : axes.compactMap { resolvedAxis($0, rank: x.rank) }
    try require(
      (axes.isEmpty || removed.count == axes.count) && removed.allSatisfy { x[$0] == .known(1) },
      "axes \(axes) of \(x) are not all of extent 1")
    return [
      operands[0].type.with(
        shape: Shape(x.extents.enumerated().filter { !removed.contains($0.offset) }.map(\.element)))
    ]
  }
  package func resultFacts(of operands: [Operand]) -> [[Extent]?] { [operands[0].fact] }
}

/// Inserts axes of extent 1 at positions `axes` of the result.
package struct Unsqueeze: SimpleOperation {
  package static let name = "unsqueeze"
  package var attributes: [Attribute<Self>] { [Attribute("axes", \.axes)] }
  package var axes: [Int] = []
  package init() {}

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 1...1)
    let x = operands[0].shape, rank = x.rank + axes.count
    let inserted = axes.compactMap { resolvedAxis($0, rank: rank) }
    try require(
      inserted.count == axes.count && Set(inserted).count == axes.count,
      "axes \(axes) are out of range or repeat")
    var rest = x.extents.makeIterator()
    let extents = (0..<rank).compactMap { inserted.contains($0) ? .known(1) : rest.next() }
    return [operands[0].type.with(shape: Shape(extents))]
  }
  package func resultFacts(of operands: [Operand]) -> [[Extent]?] { [operands[0].fact] }
}

/// Joins the operands along `axis`; their other extents and their element types must agree.
package struct Concat: SimpleOperation {
  package static let name = "concat"
  package var attributes: [Attribute<Self>] { [Attribute("axis", \.axis)] }
  package var axis = 0
  package init() {}

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 1...65_536)
    let first = operands[0].type
    guard let axis = resolvedAxis(axis, rank: first.shape.rank) else {
      throw VerificationError("concat: axis \(self.axis) is out of range for \(first.shape)")
    }
    var extent = 0
    for operand in operands {
      let s = operand.shape
      guard s.rank == first.shape.rank, let size = s.size(axis),
        (0..<s.rank).allSatisfy({ $0 == axis || s[$0] == first.shape[$0] })
      else { throw VerificationError("concat: \(s) does not fit \(first.shape) along axis \(axis)") }
      try require(
        operand.type.element == first.element,
        "element types \(operand.type.element) and \(first.element) differ")
      extent += size
    }
    var extents = first.shape.extents
    extents[axis] = .known(extent)
    return [TensorType(Shape(extents), first.element)]
  }
  package func resultFacts(of operands: [Operand]) -> [[Extent]?] {
    let facts = operands.compactMap(\.fact)
    guard resolvedAxis(axis, rank: operands[0].shape.rank) == 0 else { return [nil] }
    let count = facts.reduce(0) { $0 + $1.count }
    return [facts.count == operands.count && count <= Graph.maximumFactCount ? Array(facts.joined()) : nil]
  }
}

/// Cuts the operand along `axis` into parts of the given sizes: several results.
package struct Split: SimpleOperation {
  package static let name = "split"
  package var attributes: [Attribute<Self>] { [Attribute("axis", \.axis), Attribute("sizes", \.sizes)] }
  package var axis = 0
  package var sizes: [Int] = []
  package init() {}

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 1...1)
    let x = operands[0].shape
    guard let axis = resolvedAxis(axis, rank: x.rank), let size = x.size(axis), sizes.allSatisfy({ $0 >= 0 }),
      sizes.reduce(0, { $0 &+ $1 }) == size, !sizes.isEmpty
    else { throw VerificationError("split: sizes \(self.sizes) do not cut axis \(self.axis) of \(x)") }
    return sizes.map { part in
      var extents = x.extents
      extents[axis] = .known(part)
      return TensorType(Shape(extents), operands[0].type.element)
    }
  }
}

/// Every `step`-th element of a range of each axis, with ONNX's clamping of starts and ends. In imported graphs the
/// four lists may come as operands 1 to 4 (starts, ends, axes, steps) with known contents instead.
package struct Slice: SimpleOperation {
  package static let name = "slice"
  package var attributes: [Attribute<Self>] {
    [
      Attribute("starts", \.starts), Attribute("ends", \.ends), Attribute("axes", \.axes),
      Attribute("steps", \.steps),
    ]
  }
  package var starts: [Int] = []
  package var ends: [Int] = []
  package var axes: [Int] = []
  package var steps: [Int] = []
  package init() {}

  /// The range of one axis: `count` elements from `start`, `step` apart.
  package struct Range: Hashable, Sendable {
    package var axis: Int
    package var start: Int
    package var step: Int
    package var count: Int

    package init(axis: Int, start: Int, step: Int, count: Int) {
      self.axis = axis
      self.start = start
      self.step = step
      self.count = count
    }
  }

  /// The operation with all lists as attributes.
  package func resolved(_ operands: [Operand]) throws(VerificationError) -> Slice {
    var result = self
    if operands.count > 1 {
      let lists = operands.dropFirst().map(\.integers)
      guard lists.allSatisfy({ $0 != nil }), let starts = lists.first ?? nil,
        let ends = lists.dropFirst().first ?? nil
      else {
        throw VerificationError("slice: starts, ends, axes and steps must be known at compile time")
      }
      result.starts = starts
      result.ends = ends
      if lists.count > 2, let axes = lists[lists.startIndex + 2] { result.axes = axes }
      if lists.count > 3, let steps = lists[lists.startIndex + 3] { result.steps = steps }
    }
    if result.axes.isEmpty { result.axes = Array(result.starts.indices) }
    if result.steps.isEmpty { result.steps = result.starts.map { _ in 1 } }
    return result
  }

  /// The ranges of a resolved slice over an operand of shape `x`.
  package func ranges(of x: Shape) throws(VerificationError) -> [Range] {
    try require(
      starts.count == ends.count && axes.count == starts.count && steps.count == starts.count,
      "starts, ends, axes and steps differ in length")
    var result: [Range] = []
    for i in starts.indices {
      guard let axis = resolvedAxis(axes[i], rank: x.rank) else {
        throw VerificationError("slice: axis \(axes[i]) is out of range for \(x)")
      }
      guard let size = x.size(axis) else {
        // A slice that keeps the whole batch is none.
        try require(
          starts[i] == 0 && steps[i] == 1 && ends[i] >= Int(Int32.max), "the batch axis cannot be sliced")
        continue
      }
      let step = steps[i]
      try require(step != 0 && step != .min, "a step is 0")
      func clamped(_ index: Int, _ range: ClosedRange<Int>) -> Int {
        let positive = index < 0 ? index.addingReportingOverflow(size).partialValue : index
        return min(
          max(index < 0 && positive > 0 && index < -size ? range.lowerBound : positive, range.lowerBound),
          range.upperBound)
      }
      let start: Int, count: Int
      if step > 0 {
        start = clamped(starts[i], 0...size)
        let end = clamped(ends[i], 0...size)
        count = end > start ? (end - start - 1) / step + 1 : 0
      } else {
        guard size > 0 else { result.append(Range(axis: axis, start: 0, step: step, count: 0)); continue }
        start = clamped(starts[i], 0...(size - 1))
        let end = clamped(ends[i], -1...(size - 1))
        count = start > end ? (start - end - 1) / -step + 1 : 0
      }
      result.append(Range(axis: axis, start: start, step: step, count: count))
    }
    return result
  }

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 1...5)
    var extents = operands[0].shape.extents
    for range in try resolved(operands).ranges(of: operands[0].shape) {
      extents[range.axis] = .known(range.count)
    }
    return [TensorType(Shape(extents), operands[0].type.element)]
  }
  package func resultFacts(of operands: [Operand]) -> [[Extent]?] {
    guard let fact = operands[0].fact, let sizes = operands[0].shape.sizes,
      fact.count == checkedProduct(sizes),
      let slice = try? resolved(operands), let ranges = try? slice.ranges(of: operands[0].shape),
      Set(ranges.map(\.axis)).count == ranges.count
    else { return [nil] }
    var counts = sizes, strides = rowMajorStrides(sizes), start = 0
    for range in ranges {
      counts[range.axis] = range.count
      // Wraps only where no element is read: in an axis of at most one element, or beside an empty axis.
      start &+= range.count == 0 ? 0 : range.start &* strides[range.axis]
      strides[range.axis] &*= range.step
    }
    return [gathered(fact, counts: counts, strides: strides, from: start)]
  }
}

/// Pads every axis before and after; `pads` lists all befores, then all afters (ONNX order). In imported graphs the
/// pads may come as operand 1 and the value as operand 2, with known contents.
package struct Pad: SimpleOperation {
  package enum Mode: String, TextEnumeration, Hashable { case constant, reflect, edge }
  package static let name = "pad"
  package var attributes: [Attribute<Self>] {
    [Attribute("pads", \.pads), Attribute("value", \.value), Attribute("mode", \.mode)]
  }
  package var pads: [Int] = []
  /// The real value of the padding.
  package var value: Float = 0
  package var mode = Mode.constant
  package init() {}

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 1...3)
    var pads = pads
    if operands.count > 1 {
      guard let known = operands[1].integers else {
        throw VerificationError("pad: the pads operand is not known at compile time")
      }
      pads = known
    }
    let x = operands[0].shape
    try require(pads.count == 2 * x.rank, "\(pads.count) pads do not fit rank \(x.rank)")
    try require(pads.allSatisfy { $0 > -(1 << 24) && $0 < 1 << 24 }, "pads are out of range")
    var extents: [Extent] = []
    for axis in 0..<x.rank {
      let extra = pads[axis] + pads[axis + x.rank]
      if extra == 0 && pads[axis] == 0 {
        extents.append(x[axis])
      } else {
        guard let size = x.size(axis), size + extra >= 0 else {
          throw VerificationError("pad: axis \(axis) of \(x) cannot be padded")
        }
        extents.append(.known(size + extra))
      }
    }
    return [TensorType(Shape(extents), operands[0].type.element)]
  }
}

/// Elements of operand 0 along `axis` at the indices in operand 1.
package struct Gather: SimpleOperation {
  package static let name = "gather"
  package var attributes: [Attribute<Self>] { [Attribute("axis", \.axis)] }
  package var axis = 0
  package init() {}

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 2...2)
    let x = operands[0].shape
    guard let axis = resolvedAxis(axis, rank: x.rank) else {
      throw VerificationError("gather: axis \(self.axis) is out of range for \(x)")
    }
    let extents = Array(x.extents[..<axis]) + operands[1].shape.extents + Array(x.extents[(axis + 1)...])
    return [TensorType(Shape(extents), operands[0].type.element)]
  }
  package func resultFacts(of operands: [Operand]) -> [[Extent]?] {
    guard let fact = operands[0].fact, operands[0].shape.rank == 1, let indices = operands[1].integers else {
      return [nil]
    }
    let picked = indices.map { index -> Extent? in
      let i = index < 0 ? index + fact.count : index
      return fact.indices.contains(i) ? fact[i] : nil
    }
    return [picked.contains(nil) ? nil : picked.compactMap { $0 }]
  }
}

/// Broadcasts operand 0 to the shape in operand 1 (known contents) or in the attribute.
package struct Expand: SimpleOperation {
  package static let name = "expand"
  package var attributes: [Attribute<Self>] { [Attribute("shape", \.shape)] }
  package var shape: Shape = []
  package init() {}

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 1...2)
    var wanted = shape
    if operands.count == 2 {
      guard let fact = operands[1].fact, !fact.contains(.unknown) else {
        throw VerificationError("expand: the shape operand is not known at compile time")
      }
      wanted = Shape(fact)
    }
    guard let result = broadcast(operands[0].shape, wanted) else {
      throw VerificationError("expand: \(operands[0].shape) does not broadcast to \(wanted)")
    }
    return [TensorType(result, operands[0].type.element)]
  }
}

/// Resamples the last two axes by whole factors or to a fixed size.
package struct Resize: SimpleOperation {
  package enum Mode: String, TextEnumeration, Hashable { case nearest, linear }
  package enum Coordinates: String, TextEnumeration, Hashable {
    case halfPixel = "half-pixel"
    case asymmetric
    case alignCorners = "align-corners"
    case pytorchHalfPixel = "pytorch-half-pixel"
  }
  package enum Rounding: String, TextEnumeration, Hashable {
    case preferFloor = "round-prefer-floor"
    case preferCeil = "round-prefer-ceil"
    case floor, ceil
  }
  package static let name = "resize"
  package var attributes: [Attribute<Self>] {
    [
      Attribute("size", \.size), Attribute("mode", \.mode), Attribute("coordinates", \.coordinates),
      Attribute("rounding", \.rounding),
    ]
  }
  /// Output height and width.
  package var size: [Int] = []
  package var mode = Mode.nearest
  package var coordinates = Coordinates.halfPixel
  package var rounding = Rounding.preferFloor
  package init() {}

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 1...1)
    let x = operands[0].shape
    try require(
      x.rank == 4 && size.count == 2 && size.allSatisfy { (1...(1 << 24)).contains($0) },
      "needs rank 4 and two positive sizes")
    return [TensorType(Shape([x[0], x[1], .known(size[0]), .known(size[1])]), operands[0].type.element)]
  }
}
