/// Dense layouts of weights that few numbers suffice for: two bits each, or codes of a palette.
///
///     dense, 2 bits: 64 bytes for four steps; byte `4 channel + j` of quad t
///
///         bit     7  6    5  4    3  2    1  0
///                ┌───────┬───────┬───────┬───────┐
///                │ step  │ step  │ step  │ step  │   weight j, two's complement
///                │ 4 t+3 │ 4 t+2 │ 4 t+1 │  4 t  │
///                └───────┴───────┴───────┴───────┘
///
///     palette: every panel starts with 64 bytes that hold its table of 16 weights four times; the codes follow in
///              the layout of 4 bits. Code 0 means weight 0, which all padding has.
extension WeightPacking {
  /// Steps of a row as a 2-bit kernel counts them: a multiple of four.
  package static func quadSteps(_ weights: Int) -> Int { (steps(weights) + 3) / 4 * 4 }

  /// Packs `[channels][rowLength]` weights of 2 bits, four to a byte.
  /// - Requires: weights.count == channels * rowLength, every weight in -2 ... 1.
  package static func pack2(_ weights: [Int8], channels: Int, rowLength: Int) -> [UInt8] {
    let quads = quadSteps(rowLength) / 4
    var packed = [UInt8](repeating: 0, count: panels(channels) * quads * 64)
    for channel in 0..<channels {
      for k in 0..<rowLength {
        let bits = UInt8(bitPattern: weights[channel * rowLength + k]) & 3
        packed[position(channel: channel, k: k, blocks: quads, step: k / 16)] |= bits << UInt8(k / 4 % 4 * 2)
      }
    }
    return packed
  }

  /// The rows that `pack2` packed.
  /// - Requires: packed.count is what `pack2` returns for this shape.
  package static func unpack2(_ packed: [UInt8], channels: Int, rowLength: Int) -> [Int8] {
    let quads = quadSteps(rowLength) / 4
    var weights = [Int8](repeating: 0, count: channels * rowLength)
    for channel in 0..<channels {
      for k in 0..<rowLength {
        let byte = packed[position(channel: channel, k: k, blocks: quads, step: k / 16)]
        weights[channel * rowLength + k] = Int8(bitPattern: byte << UInt8(6 - k / 4 % 4 * 2)) >> 6
      }
    }
    return weights
  }

  /// Bytes of a panel of palette codes, its table included.
  package static func palettePanelBytes(_ rowLength: Int) -> Int { 64 + evenSteps(rowLength) * 32 }

  /// Packs `[channels][rowLength]` weights as codes into tables of 16; nil when a panel has more than 15 different
  /// weights besides 0.
  /// - Requires: weights.count == channels * rowLength.
  package static func packPalette(_ weights: [Int8], channels: Int, rowLength: Int) -> [UInt8]? {
    var packed: [UInt8] = []
    for panel in 0..<panels(channels) {
      let first = panel * panelChannels, count = min(panelChannels, channels - first)
      let rows = weights[first * rowLength..<(first + count) * rowLength]
      guard let palette = palette(of: rows) else { return nil }
      // The code of every weight; others than those of the palette do not occur.
      var codes = [Int8](repeating: 0, count: 256)
      for (code, weight) in palette.enumerated().reversed() {
        codes[Int(UInt8(bitPattern: weight))] = Int8(truncatingIfNeeded: code)
      }
      for _ in 0..<4 { packed += palette.map { UInt8(bitPattern: $0) } }
      packed += pack4(
        rows.map { codes[Int(UInt8(bitPattern: $0))] }, channels: count, rowLength: rowLength)
    }
    return packed
  }

  /// The rows that `packPalette` packed.
  /// - Requires: packed.count is what `packPalette` returns for this shape.
  package static func unpackPalette(_ packed: [UInt8], channels: Int, rowLength: Int) -> [Int8] {
    let panelBytes = palettePanelBytes(rowLength)
    var weights: [Int8] = []
    for panel in 0..<panels(channels) {
      let start = panel * panelBytes, count = min(panelChannels, channels - panel * panelChannels)
      let codes = unpack4(
        Array(packed[start + 64..<start + panelBytes]), channels: count, rowLength: rowLength)
      weights += codes.map { Int8(bitPattern: packed[start + Int($0 & 15)]) }
    }
    return weights
  }

  /// The different weights in ascending order behind a first 0, filled up to 16 with 0; nil when there are more.
  private static func palette(of weights: ArraySlice<Int8>) -> [Int8]? {
    var occurs = [Bool](repeating: false, count: 256)
    for weight in weights { occurs[Int(weight) + 128] = true }
    var palette: [Int8] = [0]
    for weight in -128...127 where weight != 0 && occurs[weight + 128] { palette.append(Int8(weight)) }
    guard palette.count <= 16 else { return nil }
    return palette + [Int8](repeating: 0, count: 16 - palette.count)
  }
}
