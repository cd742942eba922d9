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
  }
}
