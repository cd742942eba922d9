import Numerics
import Testing

@Suite struct WeightPackingTests {
  @Test(arguments: [1, 3, 15, 16, 17, 33, 64, 100], [1, 3, 4, 5, 8, 9, 36, 147])
  func unpackingInvertsPacking(channels: Int, rowLength: Int) {
    var random = SeededGenerator(state: UInt64(channels * 1000 + rowLength))
    let bytes = (0..<channels * rowLength).map { _ in Int8.random(in: -128...127, using: &random) }
    let packed8 = WeightPacking.pack8(bytes, channels: channels, rowLength: rowLength)
    #expect(WeightPacking.unpack8(packed8, channels: channels, rowLength: rowLength) == bytes)
    #expect(packed8.count == (channels + 15) / 16 * ((rowLength + 3) / 4) * 64)

    let nibbles = bytes.map { ($0 << 4) >> 4 }
    let packed4 = WeightPacking.pack4(nibbles, channels: channels, rowLength: rowLength)
    #expect(WeightPacking.unpack4(packed4, channels: channels, rowLength: rowLength) == nibbles)
    #expect(packed4.count == (channels + 15) / 16 * ((rowLength + 7) / 8) * 64)

    let pairs = bytes.map { ($0 << 6) >> 6 }
    let packed2 = WeightPacking.pack2(pairs, channels: channels, rowLength: rowLength)
    #expect(WeightPacking.unpack2(packed2, channels: channels, rowLength: rowLength) == pairs)
    #expect(packed2.count == (channels + 15) / 16 * ((rowLength + 15) / 16) * 64)
  }

  @Test(arguments: [1, 15, 16, 17, 40], [1, 4, 9, 36, 147])
  func palettesHoldFifteenWeightsAPanel(channels: Int, rowLength: Int) throws {
    var random = SeededGenerator(state: UInt64(channels * 1000 + rowLength))
    var weights: [Int8] = []
    for channel in 0..<channels {
      // Another palette for every panel, without and with 0.
      let first = Int8(channel / 16 * 40 - 60)
      for _ in 0..<rowLength { weights.append(Int8.random(in: first..<first + 15, using: &random)) }
    }
    let packed = try #require(WeightPacking.packPalette(weights, channels: channels, rowLength: rowLength))
    #expect(WeightPacking.unpackPalette(packed, channels: channels, rowLength: rowLength) == weights)
    #expect(packed.count == (channels + 15) / 16 * (64 + (rowLength + 7) / 8 * 64))
    if channels == 16 && rowLength >= 4 {
      for index in 0..<17 { weights[index] = Int8(index) - 8 }
      #expect(WeightPacking.packPalette(weights, channels: channels, rowLength: rowLength) == nil)
    }
  }

  @Test(arguments: [1, 15, 16, 17, 40], [32, 96, 288])
  func bitsInvertToo(channels: Int, rowLength: Int) {
    var random = SeededGenerator(state: UInt64(channels * 1000 + rowLength))
    let ternary = (0..<channels * rowLength).map { _ in Int8.random(in: -1...1, using: &random) }
    let packed = WeightPacking.packTernary(ternary, channels: channels, rowLength: rowLength)
    #expect(WeightPacking.unpackTernary(packed, channels: channels, rowLength: rowLength) == ternary)
    #expect(packed.count == (channels + 15) / 16 * rowLength * 4)
    let binary: [Int8] = ternary.map { $0 < 0 ? -1 : 1 }
    let signs = WeightPacking.packBinary(binary, channels: channels, rowLength: rowLength)
    #expect(WeightPacking.unpackBinary(signs, channels: channels, rowLength: rowLength) == binary)
    #expect(signs.count == (channels + 15) / 16 * rowLength * 2)
  }

  @Test func placesWeightsAsDocumented() {
    // Channel 17 of 18, weight 6 of 8: panel 1, step 1, byte 4 * 1 + 2.
    var weights = [Int8](repeating: 0, count: 18 * 8)
    weights[17 * 8 + 6] = -3
    let packed8 = WeightPacking.pack8(weights, channels: 18, rowLength: 8)
    #expect(packed8.indices.filter { packed8[$0] != 0 } == [128 + 64 + 6])
    #expect(packed8[128 + 64 + 6] == 0xFD)
    // Step 1 is the high nibble of pair 0.
    let packed4 = WeightPacking.pack4(weights, channels: 18, rowLength: 8)
    #expect(packed4.indices.filter { packed4[$0] != 0 } == [64 + 6])
    #expect(packed4[64 + 6] == 0xD0)
    // The second two bits of quad 0.
    weights[17 * 8 + 6] = -2
    let packed2 = WeightPacking.pack2(weights, channels: 18, rowLength: 8)
    #expect(packed2.indices.filter { packed2[$0] != 0 } == [64 + 6])
    #expect(packed2[64 + 6] == 0b1000)
  }

  @Test func unpacksNibblesToTheLayoutOfBytes() {
    var random = SeededGenerator(state: 3)
    for (channels, rowLength) in [(16, 8), (17, 72), (5, 144)] {
      let weights = (0..<channels * rowLength).map { _ in Int8.random(in: -8...7, using: &random) }
      let nibbles = WeightPacking.pack4(weights, channels: channels, rowLength: rowLength)
      var bytes = [Int8](repeating: 99, count: 2 * nibbles.count)
      bytes.withUnsafeMutableBufferPointer { target in
        guard let target = target.baseAddress else { return }
        WeightPacking.unpack(nibbles: nibbles, bytes: nibbles.count, into: target)
      }
      #expect(
        bytes.map { UInt8(bitPattern: $0) }
          == WeightPacking.pack8(weights, channels: channels, rowLength: rowLength))
    }
  }
}
