import Program
import TestSupport
import Testing

/// Results may lie beside their operands, and elementwise ones on them; everything else is refused.
@Suite struct OverlapTests {
  private struct Bytes {
    var tensor: Program.Tensor
    /// Of the pixels' channels, rounded up to 4.
    var set: Set<Int> {
      guard case .arena(let offset) = tensor.storage else { return [] }
      let stored = roundedUp(tensor.channels, to: 4)
      return Set(
        (0..<tensor.pixels).flatMap { pixel in
          (0..<stored).map { offset + pixel * tensor.pixelStride + $0 }
        })
    }
  }

  private enum Kind: CaseIterable { case lookup, maxPool, copy, filledCopy }

  private func isAccepted(_ kind: Kind, _ x: Program.Tensor, _ y: Program.Tensor) -> Bool {
    var builder = ProgramBuilder()
    let input = builder.addTensor(x), output = builder.addTensor(y)
    _ = builder.addTensor(.real("result", shape: [1], storage: .output(0)))
    switch kind {
    case .lookup:
      let table = builder.addData([UInt8](repeating: 0, count: 256))
      builder.append("a", .lookup(.init(input: input, output: output, table: table)))
    case .maxPool:
      builder.append("a", .maxPool(.init(input: input, output: output, window: .init(kernel: [1, 1]))))
    case .copy, .filledCopy:
      builder.append(
        "a",
        .copy(
          .init(
            input: input, output: output, inputOffset: 0, outputOffset: 0,
            dimensions: [.init(extent: 1, inputStride: 1, outputStride: 1)], fill: kind == .copy ? nil : 0)))
    }
    do throws(ProgramError) {
      _ = try builder.finish(arenaBytes: 4096)
      return true
    } catch {
      #expect(error.description.contains("overlaps"))
      return false
    }
  }

  @Test(arguments: UInt64(0)..<8) func acceptsExactlyWhatIsSafe(seed: UInt64) {
    var random = SeededGenerator(state: seed), accepted = 0, inPlace = 0
    for _ in 0..<500 {
      let shape = [
        Int.random(in: 1...9, using: &random), Int.random(in: 1...3, using: &random),
        Int.random(in: 1...3, using: &random),
      ]
      let stride = roundedUp(shape[0], to: 4) * Int.random(in: 1...3, using: &random)
      func tensor(_ offset: Int) -> Program.Tensor {
        var tensor = Program.Tensor.activation("", shape: shape, arenaOffset: offset, scale: 1, zeroPoint: 0)
        tensor.pixelStride = stride
        return tensor
      }
      let x = tensor(4 * Int.random(in: 0...20, using: &random))
      let y = Bool.random(using: &random) ? tensor(4 * Int.random(in: 0...60, using: &random)) : x
      let isApart = Bytes(tensor: x).set.isDisjoint(with: Bytes(tensor: y).set)
      #expect(isAccepted(.maxPool, x, y) == isApart)
      #expect(isAccepted(.copy, x, y) == isApart)
      #expect(isAccepted(.lookup, x, y) == (isApart || x == y))
      // A fill writes the gaps too.
      if isAccepted(.filledCopy, x, y) { #expect(isApart) }
      if isApart { accepted += 1 }
      if x == y { inPlace += 1 }
    }
    #expect(accepted > 50 && inPlace > 50)
  }

  /// A border is written with its image: the same place is that of the same border.
  @Test func refusesOtherBordersOnTheSameBytes() {
    let border = Program.Tensor.Border(top: 1, left: 1, bottom: 0, right: 2)
    let x = Program.Tensor.activation(
      "", shape: [4, 2, 2], arenaOffset: 64, border: border, scale: 1, zeroPoint: 0)
    var y = x
    #expect(isAccepted(.lookup, x, y))
    #expect(!isAccepted(.maxPool, x, y))
    y.border = .init(top: 1, left: 1, bottom: 2, right: 0)
    #expect(!isAccepted(.lookup, x, y))
    y.border = .none
    #expect(!isAccepted(.lookup, x, y) && !isAccepted(.lookup, y, x))
    // The image alone lies within the other's border.
    y.storage = .arena(offset: 64 + x.imageOffset)
    #expect(!isAccepted(.lookup, x, y) && !isAccepted(.lookup, y, x))
    // In front of the other's border, and within it.
    for (offset, isApart) in [
      (48, true), (52, false), (64, false), (60 + x.byteCount, false), (64 + x.byteCount, true),
    ] {
      y = .activation("", shape: [4, 1, 4], arenaOffset: offset, scale: 1, zeroPoint: 0)
      let small = Program.Tensor.activation("", shape: [4, 1, 4], arenaOffset: 1024, scale: 1, zeroPoint: 0)
      #expect(isAccepted(.lookup, small, y))
      #expect(x.overlaps(y) == !isApart && y.overlaps(x) == !isApart)
    }
  }

  @Test func refusesOtherStridesOnTheSameBytes() {
    let x = Program.Tensor.activation("", shape: [4, 2, 2], arenaOffset: 0, scale: 1, zeroPoint: 0)
    var y = x
    y.pixelStride = 8
    #expect(!isAccepted(.lookup, x, y))
    y.storage = .arena(offset: 64)
    #expect(isAccepted(.lookup, x, y))
  }
}
