import Program

/// A tensor's logical elements as offsets into its storage, from which copies are made: what transposition,
/// slicing and reshaping do to the strides of an array.
package struct StridedView: Hashable, Sendable {
  package struct Axis: Hashable, Sendable {
    package var extent: Int
    /// In elements of the storage; negative when reversed.
    package var stride: Int
  }
  package private(set) var offset: Int
  package private(set) var axes: [Axis]

  package init(_ tensor: Program.Tensor) {
    offset = tensor.imageOffset
    switch tensor.layout {
    case .rowMajor:
      axes = Self.rowMajor(tensor.shape)
    case .channelsLast4:
      axes = [Axis(extent: tensor.channels, stride: 1)]
      if tensor.shape.count == 3 {
        axes.append(Axis(extent: tensor.height, stride: tensor.rowStride))
        axes.append(Axis(extent: tensor.width, stride: tensor.pixelStride))
      }
    }
  }

  package var shape: [Int] { axes.map(\.extent) }

  /// Axis i of the result is axis `permutation[i]`.
  /// - Requires: a permutation of the axes.
  package func permuted(_ permutation: [Int]) -> StridedView {
    var view = self
    view.axes = permutation.map { axes[$0] }
    return view
  }

  /// `count` elements of an axis from `start`, `step` apart.
  /// - Requires: all of them exist.
  package func sliced(axis: Int, start: Int, step: Int = 1, count: Int) -> StridedView {
    var view = self
    view.offset += start * axes[axis].stride
    view.axes[axis] = Axis(extent: count, stride: axes[axis].stride * step)
    return view
  }

  /// Every element of an axis `factor` times in a row, as two axes joined: nearest-neighbour enlargement. The
  /// axis becomes two; reshape the other view alike.
  package func repeated(axis: Int, _ factor: Int) -> StridedView {
    var view = self
    view.axes.insert(Axis(extent: factor, stride: 0), at: axis + 1)
    return view
  }

  /// The same elements in the same row-major order under another shape; nil where strides cannot express it.
  package func reshaped(_ shape: [Int]) -> StridedView? {
    guard shape.reduce(1, *) == self.shape.reduce(1, *), !shape.contains(0) else { return nil }
    // Cut the runs anew, last axes first.
    var runs = self.runs
    var result: [Axis] = []
    for extent in shape.reversed() {
      guard extent != 1 else {
        result.append(Axis(extent: 1, stride: 0))
        continue
      }
      guard let run = runs.last, run.extent % extent == 0 else { return nil }
      result.append(Axis(extent: extent, stride: run.stride))
      runs[runs.count - 1] = Axis(extent: run.extent / extent, stride: run.stride * extent)
      if run.extent == extent { runs.removeLast() }
    }
    var view = self
    view.axes = result.reversed()
    return view
  }

  /// The axes, with those merged that follow one another without a gap, and without those of extent 1.
  fileprivate var runs: [Axis] {
    var runs: [Axis] = []
    for axis in axes where axis.extent != 1 {
      if let last = runs.last, last.stride == axis.stride * axis.extent {
        runs[runs.count - 1] = Axis(extent: last.extent * axis.extent, stride: axis.stride)
      } else {
        runs.append(axis)
      }
    }
    return runs
  }

  private static func rowMajor(_ shape: [Int]) -> [Axis] {
    var axes: [Axis] = [], stride = 1
    for extent in shape.reversed() {
      axes.append(Axis(extent: extent, stride: stride))
      stride *= extent
    }
    return axes.reversed()
  }
}

extension Instruction.Copy {
  /// Moves the elements of `source`, a view of tensor `input`, to those of `target`, a view of tensor
  /// `output`. The shapes may differ: elements correspond in row-major order. nil when strides cannot express
  /// that, or need more than 8 loops.
  package init?(
    from source: StridedView, of input: Int, to target: StridedView, of output: Int, fill: UInt8? = nil
  ) {
    guard let dimensions = Self.commonDimensions(source, target) else { return nil }
    self.init(
      input: input, output: output, inputOffset: source.offset, outputOffset: target.offset,
      dimensions: dimensions, fill: fill)
  }

  /// Loops over both views in row-major order, cut at the boundaries of both.
  private static func commonDimensions(_ source: StridedView, _ target: StridedView) -> [Dimension]? {
    var left = source.runs, right = target.runs
    var reversed: [Dimension] = []
    while let a = left.last, let b = right.last {
      let extent = min(a.extent, b.extent)
      guard extent > 0, a.extent % extent == 0, b.extent % extent == 0 else { return nil }
      if let last = reversed.last, a.stride == last.inputStride * last.extent,
        b.stride == last.outputStride * last.extent
      {
        reversed[reversed.count - 1].extent *= extent
      } else {
        reversed.append(Dimension(extent: extent, inputStride: a.stride, outputStride: b.stride))
      }
      left[left.count - 1] = .init(extent: a.extent / extent, stride: a.stride * extent)
      right[right.count - 1] = .init(extent: b.extent / extent, stride: b.stride * extent)
      if left[left.count - 1].extent == 1 { left.removeLast() }
      if right[right.count - 1].extent == 1 { right.removeLast() }
    }
    guard left.isEmpty, right.isEmpty, reversed.count <= maximumDimensions else { return nil }
    if reversed.isEmpty { reversed = [Dimension(extent: 1, inputStride: 0, outputStride: 0)] }
    return reversed.reversed()
  }
}
