import IR
import Testing

@testable import Evaluator

@Suite("Data movement against index arithmetic")
struct DataMovementTests {
  /// Checks that result element `index` is operand element `source(index)`; nil stands for `fill`.
  private func expect(
    _ y: Tensor, _ x: Tensor, fill: Float = 0, _ source: ([Int]) -> [Int]?,
    location: SourceLocation = #_sourceLocation
  ) {
    let values = x.floats
    let expected = indices(y.shape).map { index in source(index).map { values[position($0, x.shape)] } ?? fill
    }
    #expect(y.floats == expected, sourceLocation: location)
  }
  private func numbers(_ shape: [Int]) -> Tensor {
    Tensor(shape, (0..<shape.reduce(1, *)).map { Float($0) })
  }

  @Test(arguments: [[0, 2, 3, 1], [0, 3, 1, 2], [3, 2, 1, 0], [0, 1, 2, 3], [1, 0, 3, 2]])
  func transposes(permutation: [Int]) throws {
    let x = numbers([2, 3, 4, 5])
    var op = Transpose()
    op.permutation = permutation
    let y = try evaluate(.transpose(op), [x])[0]
    expect(y, x) { index in
      var source = [0, 0, 0, 0]
      for (axis, from) in permutation.enumerated() { source[from] = index[axis] }
      return source
    }
  }

  @Test(arguments: [
    ([0], [2], [1], [1]), ([-1], [-100], [3], [-1]), ([1, 0], [100, 4], [2, 3], [2, 2]),
    ([3], [0], [2], [-2]), ([0], [0], [1], [1]),
  ])
  func slices(starts: [Int], ends: [Int], axes: [Int], steps: [Int]) throws {
    let x = numbers([2, 3, 4, 5])
    var op = Slice()
    (op.starts, op.ends, op.axes, op.steps) = (starts, ends, axes, steps)
    let y = try evaluate(.slice(op), [x])[0]
    expect(y, x) { index in
      var source = index
      for (i, axis) in axes.enumerated() {
        let first = starts[i] < 0 ? starts[i] + x.shape[axis] : starts[i]
        source[axis] = first + index[axis] * steps[i]
      }
      return source
    }
  }

  @Test(
    arguments: [Pad.Mode.constant, .edge, .reflect],
    [[0, 0, 1, 2, 0, 0, 2, 1], [0, 1, 0, -1, 0, 2, -1, 3], [1, 0, 0, 0, 0, 0, 0, 0]])
  func pads(mode: Pad.Mode, pads: [Int]) throws {
    let x = numbers([2, 3, 4, 5])
    var op = Pad()
    (op.pads, op.mode, op.value) = (pads, mode, -3)
    let y = try evaluate(.pad(op), [x])[0]
    expect(y, x, fill: -3) { index in
      var source = index
      for axis in 0..<4 {
        var i = index[axis] - pads[axis]
        let extent = x.shape[axis]
        switch mode {
        case .constant: if i < 0 || i >= extent { return nil }
        case .edge: i = min(max(i, 0), extent - 1)
        case .reflect: while i < 0 || i >= extent { i = i < 0 ? -i : 2 * (extent - 1) - i }
        }
        source[axis] = i
      }
      return source
    }
  }

  @Test(arguments: [0, 1, 2, 3, -1])
  func concatenationAndSplit(axis: Int) throws {
    let x = numbers([2, 3, 4, 5]), resolved = axis < 0 ? axis + 4 : axis
    var concat = Concat()
    concat.axis = axis
    let y = try evaluate(.concat(concat), [x, x, x])[0]
    expect(y, x) { index in
      var source = index
      source[resolved] %= x.shape[resolved]
      return source
    }
    var split = Split()
    split.axis = axis
    split.sizes = [1, x.shape[resolved] - 1]
    let parts = try evaluate(.split(split), [x])
    for (part, offset) in zip(parts, [0, 1]) {
      expect(part, x) { index in
        var source = index
        source[resolved] += offset
        return source
      }
    }
  }

  @Test func gathers() throws {
    let x = numbers([3, 4, 5])
    var op = Gather()
    op.axis = 1
    let y = try evaluate(.gather(op), [x, Tensor([2, 2], [0, -1, 2, 1] as [Int64])])[0]
    #expect(y.shape == [3, 2, 2, 5])
    let rows = [[0, 3], [2, 1]]
    expect(y, x) { [$0[0], rows[$0[1]][$0[2]], $0[3]] }
    let error = #expect(throws: (any Error).self) {
      try evaluate(.gather(op), [x, Tensor([1], [4] as [Int64])])
    }
    #expect("\(String(describing: error))".contains("outside axis 1"))
  }

  @Test func reshapesAndExpansion() throws {
    let x = numbers([2, 3, 4, 5])
    var reshape = Reshape()
    reshape.shape = [6, 20]
    #expect(try evaluate(.reshape(reshape), [x])[0].floats == x.floats)
    #expect(try evaluate(.flatten(Flatten()), [x])[0].shape == [2, 60])
    var expand = Expand()
    expand.shape = [2, 3, 4]
    let small = numbers([3, 1])
    let y = try evaluate(.expand(expand), [small])[0]
    expect(y, small) { [$0[1], 0] }
  }

  /// Vectors computed by hand from the coordinate formulas of the ONNX specification.
  @Test func resizing() throws {
    var op = Resize()
    op.size = [2, 4]
    let x = Tensor([1, 1, 1, 2], [1, 3] as [Float])
    #expect(try evaluate(.resize(op), [x])[0].floats == [1, 1, 3, 3, 1, 1, 3, 3])
    op.mode = .linear
    #expect(try evaluate(.resize(op), [x])[0].floats == [1, 1.5, 2.5, 3, 1, 1.5, 2.5, 3])
    op.coordinates = .asymmetric
    #expect(try evaluate(.resize(op), [x])[0].floats == [1, 2, 3, 3, 1, 2, 3, 3])
    op.coordinates = .alignCorners
    let corners = try evaluate(.resize(op), [x])[0].floats
    #expect(relativeError(corners, [1, 5 / 3, 7 / 3, 3, 1, 5 / 3, 7 / 3, 3]) < 1e-6)
  }

  @Test func shapesBindTheBatch() throws {
    var graph = Graph()
    let x = graph.addInput("x", TensorType(Shape([.batch, .known(3), .known(4)]), .f32))
    let shape = try graph.result(.shapeOf(ShapeOf()), [x], "shape")
    let zero = graph.addConstant(Constant("zero", [1], [0] as [Int64]))
    let batch = try graph.result(.gather(Gather()), [shape, zero], "batch")
    let twelve = graph.addConstant(Constant("twelve", [1], [12] as [Int64]))
    let wanted = try graph.result(.concat(Concat()), [batch, twelve], "wanted")
    let y = try graph.result(.reshape(Reshape()), [x, wanted], "y")
    var ones = ConstantOfShape()
    ones.value = 2
    let filled = try graph.result(.constantOfShape(ones), [wanted], "filled")
    graph.addOutput(try graph.result(.binary(Binary(.multiply)), [y, filled], "z"))
    let evaluator = try Evaluator(graph, threads: 2)
    for count in [1, 5, 200] {
      let input = numbers([count, 3, 4])
      let result = try evaluator.run([input])[0]
      #expect(result.shape == [count, 12] && result.floats == input.floats.map { 2 * $0 })
    }
  }
}
