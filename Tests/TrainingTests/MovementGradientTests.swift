import Evaluator
import IR
import Support
import Testing

@testable import Training

@Suite("Gradients of operations that move elements")
struct MovementGradientTests {
  private func check(_ op: Op, _ shapes: [Int]..., indices: [Int64] = []) throws {
    var random = SeededRandom(seed: 20)
    var operands = shapes.map { random.tensor($0) }
    if !indices.isEmpty { operands.append(Tensor([indices.count / 2, 2], indices)) }
    try checkGradients(op, operands, inputs: shapes.count)
  }

  @Test func shapes() throws {
    try check(.identity(Identity()), [2, 3])
    var reshape = Reshape()
    reshape.shape = [3, 8]
    try check(.reshape(reshape), [2, 3, 2, 2])
    try check(.flatten(Flatten()), [2, 3, 2, 2])
    try check(.squeeze(Squeeze()), [2, 1, 3, 1])
    var unsqueeze = Unsqueeze()
    unsqueeze.axes = [0, -1]
    try check(.unsqueeze(unsqueeze), [2, 3])
    var expand = Expand()
    expand.shape = [2, 3, 4]
    try check(.expand(expand), [3, 1])
  }

  @Test func transposition() throws {
    for permutation in [[0, 2, 3, 1], [3, 1, 0, 2], [0, 1, 2, 3], [1, 0, 2, 3]] {
      var op = Transpose()
      op.permutation = permutation
      try check(.transpose(op), [2, 3, 4, 5])
    }
  }

  @Test func joiningAndCutting() throws {
    for axis in [1, -1, 0] {
      var concat = Concat()
      concat.axis = axis
      var other = [2, 3, 4, 5]
      other[axis < 0 ? axis + 4 : axis] = 2
      try check(.concat(concat), [2, 3, 4, 5], other)
    }
    var split = Split()
    (split.axis, split.sizes) = (1, [2, 1, 3])
    try check(.split(split), [2, 6, 3])
    var slice = Slice()
    (slice.starts, slice.ends, slice.axes, slice.steps) = ([1, -1], [6, -6], [1, 3], [2, -2])
    try check(.slice(slice), [2, 6, 3, 5])
  }

  @Test(arguments: [Pad.Mode.constant, .reflect, .edge])
  func padding(_ mode: Pad.Mode) throws {
    var op = Pad()
    (op.mode, op.value, op.pads) = (mode, 0.5, [0, 0, 1, 2, 0, 0, 2, 1])
    try check(.pad(op), [2, 3, 4, 5])
    guard mode == .constant else { return }
    op.pads = [0, -1, 1, -2, 0, 0, -2, 1]
    try check(.pad(op), [2, 3, 4, 5])
  }

  @Test func gathering() throws {
    var op = Gather()
    op.axis = 1
    try check(.gather(op), [2, 4, 3], indices: [1, -1, 0, 1])
  }

  @Test(arguments: [Resize.Mode.nearest, .linear])
  func resizing(_ mode: Resize.Mode) throws {
    for coordinates in [Resize.Coordinates.halfPixel, .asymmetric, .alignCorners] {
      for size in [[7, 4], [2, 3]] {
        var op = Resize()
        (op.mode, op.coordinates, op.size) = (mode, coordinates, size)
        try check(.resize(op), [1, 2, 4, 3])
      }
    }
  }
}
