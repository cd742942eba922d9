import CInstructions

/// How the weights of a panel are packed (see `WeightPacking` in Numerics), and how vectors of them become bytes.
package enum PackedWeights {
  case bytes
  /// Two steps in the lower and upper halves of bytes.
  case nibbles
  /// Four steps in the bits of bytes, the first in the lowest.
  case pairsOfBits
  /// Two steps in the lower and upper halves of bytes, which name entries of the table that comes first.
  case codes

  /// The first weights.
  @inline(__always)
  package func start(_ t: TileOperands) -> UnsafeRawPointer { self == .codes ? t.weights + 64 : t.weights }

  /// The weights that codes name.
  @inline(__always)
  package func table(_ t: TileOperands) -> Lanes { self == .codes ? load(t.weights) : .zero }

  /// Of two steps; of four with pairs of bits.
  @inline(__always)
  package var blockBytes: Int { self == .bytes ? 128 : 64 }

  /// Of four steps.
  @inline(__always)
  package var quadBytes: Int { self == .pairsOfBits ? 64 : 2 &* blockBytes }

  /// All of a panel.
  @inline(__always)
  package func panelBytes(steps: Int) -> Int {
    switch self {
    case .bytes: 64 &* steps
    case .nibbles: 32 &* steps
    case .pairsOfBits: 16 &* steps
    case .codes: 64 &+ 32 &* steps
    }
  }

  /// Weights in the upper bits of bytes count as many times as this power of two, and so do their sums until they are
  /// complete: what lies below them is cleared in one instruction.
  @inline(__always)
  private var scaleBits: Int32 {
    switch self {
    case .bytes, .codes: 0
    case .nibbles: 4
    case .pairsOfBits: 6
    }
  }

  @inline(__always)
  package func scaled(_ bias: Lanes) -> Lanes { scaleBits == 0 ? bias : bias &<< scaleBits }

  @inline(__always)
  package func unscaled(_ sum: Lanes) -> Lanes { scaleBits == 0 ? sum : sum &>> scaleBits }

  /// Scaled weights of channels 4 i to 4 i + 3.
  /// - Parameters:
  ///   - pointer: to the first of four steps; with pairs of bits a multiple of four.
  ///   - step: one of the four, known when this is compiled.
  @inline(__always)
  package func vector(_ pointer: UnsafeRawPointer, _ table: Lanes, step: Int, _ i: Int) -> Lanes {
    switch self {
    case .bytes:
      return load(pointer + (64 &* step &+ 16 &* i))
    case .nibbles:
      let both = load(pointer + (step / 2 &* 64 &+ 16 &* i))
      return step % 2 == 0
        ? shift_left_4_bytes_x4(both) : both & Lanes(repeating: Int32(bitPattern: 0xF0F0_F0F0))
    case .pairsOfBits:
      let all = load(pointer + 16 &* i), upper = Lanes(repeating: Int32(bitPattern: 0xC0C0_C0C0))
      return switch step {
      case 0: shift_left_6_bytes_x4(all)
      case 1: shift_left_4_bytes_x4(all) & upper
      case 2: shift_left_2_bytes_x4(all) & upper
      default: all & upper
      }
    case .codes:
      let both = load(pointer + (step / 2 &* 64 &+ 16 &* i))
      return look_up_bytes_x4(
        table, step % 2 == 0 ? both & Lanes(repeating: 0x0F0F_0F0F) : upper_nibbles_x4(both))
    }
  }

  /// The same for all 16 channels.
  @inline(__always)
  package func row(_ pointer: UnsafeRawPointer, _ table: Lanes, step: Int) -> Row {
    Row { vector(pointer, table, step: step, $0) }
  }

  /// The weights themselves of what `vector` gives.
  @inline(__always)
  package func unscaledBytes(_ weights: Lanes) -> Lanes {
    switch self {
    case .bytes, .codes: weights
    case .nibbles: shift_right_4_bytes_x4(weights)
    case .pairsOfBits: shift_right_6_bytes_x4(weights)
    }
  }
}
