import Program
import Testing

/// Copies between views move the elements that index arithmetic on logical shapes moves.
@Suite struct StridedViewTests {
  /// The storage offset of a logical index, by the definition of the layouts.
  private func offset(_ tensor: Program.Tensor, _ index: [Int]) -> Int {
    switch tensor.layout {
    case .rowMajor: zip(index, tensor.shape).reduce(0) { $0 * $1.1 + $1.0 }
    case .channelsLast4:
      index.count == 1 ? index[0] : (index[1] * tensor.width + index[2]) * tensor.pixelStride + index[0]
    }
  }
  private func indices(_ shape: [Int]) -> [[Int]] {
    shape.reduce([[]]) { prefixes, extent in prefixes.flatMap { prefix in (0..<extent).map { prefix + [$0] } } }
  }
  private func execute(_ copy: Instruction.Copy, _ input: [Int], _ count: Int) -> [Int] {
    var output = [Int](repeating: -1, count: count)
    for index in indices(copy.dimensions.map(\.extent)) {
      let pairs = zip(index, copy.dimensions)
      let source = pairs.reduce(copy.inputOffset) { $0 + $1.0 * $1.1.inputStride }
      let target = pairs.reduce(copy.outputOffset) { $0 + $1.0 * $1.1.outputStride }
      output[target] = input[source]
    }
    return output
  }
  private func channelsLast(_ shape: [Int]) -> Program.Tensor {
    .activation("t", shape: shape, arenaOffset: 0, scale: 1, zeroPoint: 0)
  }
  private func rowMajor(_ shape: [Int]) -> Program.Tensor {
    .rowMajorActivation("t", shape: shape, arenaOffset: 0, scale: 1, zeroPoint: 0)
  }
  /// Storage whose elements are their logical row-major numbers.
  private func numbered(_ tensor: Program.Tensor) -> [Int] {
    var storage = [Int](repeating: -1, count: tensor.byteCount)
    for (number, index) in indices(tensor.shape).enumerated() { storage[offset(tensor, index)] = number }
    return storage
  }

  @Test func reshapesBetweenLayouts() throws {
    let pairs: [(Program.Tensor, Program.Tensor)] = [
      (channelsLast([5, 3, 4]), rowMajor([60])), (channelsLast([5, 3, 4]), channelsLast([60])),
      (rowMajor([2, 6]), channelsLast([3, 2, 2])), (channelsLast([6, 2, 2]), channelsLast([3, 4, 2])),
      (rowMajor([2, 3, 4, 5]), rowMajor([6, 20])), (channelsLast([7]), channelsLast([7, 1, 1])),
      (channelsLast([1, 1, 1]), rowMajor([1])),
    ]
    for (x, y) in pairs {
      let copy = try #require(Instruction.Copy(from: StridedView(x), of: 0, to: StridedView(y), of: 1))
      let moved = execute(copy, numbered(x), y.byteCount)
      for (number, index) in indices(y.shape).enumerated() { #expect(moved[offset(y, index)] == number) }
    }
  }

  @Test func transposesAndSlices() throws {
    let x = channelsLast([6, 5, 4]), y = rowMajor([2, 3, 4])
    let view = StridedView(x).sliced(axis: 0, start: 5, step: -2, count: 3).sliced(axis: 1, start: 1, step: 3, count: 2)
      .permuted([1, 0, 2])
    let copy = try #require(Instruction.Copy(from: view, of: 0, to: StridedView(y), of: 1))
    let moved = execute(copy, numbered(x), y.byteCount)
    for index in indices([2, 3, 4]) {
      #expect(moved[offset(y, index)] == ((5 - 2 * index[1]) * 5 + 1 + 3 * index[0]) * 4 + index[2])
    }
  }

  @Test func repeatsPixels() throws {
    let x = channelsLast([3, 2, 5]), y = channelsLast([3, 4, 15])
    let view = StridedView(x).repeated(axis: 2, 3).repeated(axis: 1, 2)
    let copy = try #require(Instruction.Copy(from: view, of: 0, to: StridedView(y), of: 1))
    let moved = execute(copy, numbered(x), y.byteCount)
    for index in indices(y.shape) {
      #expect(moved[offset(y, index)] == (index[0] * 2 + index[1] / 2) * 5 + index[2] / 3)
    }
  }

  @Test func saysWhatStridesCannotExpress() {
    #expect(Instruction.Copy(from: StridedView(channelsLast([4, 3, 3])), of: 0, to: StridedView(channelsLast([6, 6, 1])), of: 1) == nil)
    #expect(StridedView(channelsLast([4, 3, 3])).reshaped([36]) == nil)
    #expect(StridedView(rowMajor([4, 9])).reshaped([6, 6])?.shape == [6, 6])
  }
}
