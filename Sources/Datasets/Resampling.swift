/// Interpolation of `resize`. When shrinking, bilinear and bicubic average over all pixels that an output pixel covers
/// (antialiasing), rows first, exactly as Pillow 11 does: the same bytes come out. (Pillow 13 filters columns first where
/// that is cheaper; some bytes differ by one.)
package enum ResizeFilter: String, CaseIterable, Sendable {
  case nearest
  case bilinear
  case bicubic

  /// Half the width of the kernel, in input pixels at scale 1.
  fileprivate var support: Double {
    switch self {
    case .nearest: 0
    case .bilinear: 1
    case .bicubic: 2
    }
  }

  /// The kernel: a triangle, or Keys' cubic with a = -1/2.
  fileprivate func weight(_ distance: Double) -> Double {
    let x = abs(distance)
    switch self {
    case .nearest: return 0
    case .bilinear: return x < 1 ? 1 - x : 0
    case .bicubic:
      let a = -0.5
      if x < 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
      if x < 2 { return (((x - 5) * x + 8) * x - 4) * a }
      return 0
    }
  }
}

extension Image {
  /// - Requires: width and height > 0, and the result within the limits of memory.
  package func resized(width newWidth: Int, height newHeight: Int, filter: ResizeFilter) -> Image {
    if newWidth == width && newHeight == height { return self }
    if filter == .nearest { return nearest(newWidth, newHeight) }
    var result = self
    if newWidth != width {
      let taps = Taps(from: width, to: newWidth, filter)
      result.values = result.resampled(taps, lines: height, lineStride: width, step: 1, outputLines: .rows)
      result.width = newWidth
    }
    if newHeight != height {
      let taps = Taps(from: height, to: newHeight, filter)
      result.values = result.resampled(
        taps, lines: newWidth, lineStride: 1, step: newWidth, outputLines: .columns)
      result.height = newHeight
    }
    return result
  }

  private enum Lines {
    case rows
    case columns
  }

  /// Filters every row (or column): `lines` of them, `lineStride` pixels apart, with `step` pixels between neighbours.
  private func resampled(
    _ taps: Taps, lines: Int, lineStride: Int, step: Int, outputLines: Lines
  ) -> Values {
    let outputLineStride = outputLines == .rows ? taps.count : 1
    let outputStep = outputLines == .rows ? 1 : lines
    switch values {
    case .bytes(let input):
      // 22 fraction bits and 8 of value leave two for the overshoot of the cubic kernel.
      let precision = 22
      let weights = taps.weights.map {
        Int32(($0 * Double(1 << precision)).rounded(.toNearestOrAwayFromZero))
      }
      return .bytes(
        filter(input, lines, lineStride, step, outputLineStride, outputStep, taps) {
          pixels, position, stride, tap in
          var sum: Int32 = 1 << (precision - 1)
          var position = position
          for index in tap.weights {
            sum &+= Int32(pixels[position]) &* weights[index]
            position += stride
          }
          return UInt8(min(max(sum >> precision, 0), 255))
        })
    case .floats(let input):
      return .floats(
        filter(input, lines, lineStride, step, outputLineStride, outputStep, taps) {
          pixels, position, stride, tap in
          var sum = 0.0
          var position = position
          for index in tap.weights {
            sum += Double(pixels[position]) * taps.weights[index]
            position += stride
          }
          return Float(sum)
        })
    }
  }

  private func filter<Value>(
    _ input: [Value], _ lines: Int, _ lineStride: Int, _ step: Int, _ outputLineStride: Int,
    _ outputStep: Int,
    _ taps: Taps, _ sum: (UnsafeBufferPointer<Value>, Int, Int, Taps.Tap) -> Value
  ) -> [Value] {
    let count = lines * taps.count * channels
    return input.withUnsafeBufferPointer { pixels in
      [Value](unsafeUninitializedCapacity: count) { output, initialized in
        for line in 0..<lines {
          for (place, tap) in taps.taps.enumerated() {
            let source = (line * lineStride + tap.first * step) * channels
            let target = (line * outputLineStride + place * outputStep) * channels
            for channel in 0..<channels {
              output.initializeElement(
                at: target + channel, to: sum(pixels, source + channel, step * channels, tap))
            }
          }
        }
        initialized = count
      }
    }
  }

  private func nearest(_ newWidth: Int, _ newHeight: Int) -> Image {
    // Positions are summed up step by step, as Pillow does: the roundings of the sum decide between two pixels.
    func sources(_ old: Int, _ new: Int) -> [Int] {
      let step = Double(old) / Double(new)
      var position = step * 0.5
      return (0..<new).map { _ in
        defer { position += step }
        return min(Int(position), old - 1)
      }
    }
    let columns = sources(width, newWidth)
    let rows = sources(height, newHeight)
    func gather<Value>(_ input: [Value]) -> [Value] {
      var output: [Value] = []
      output.reserveCapacity(newWidth * newHeight * channels)
      for row in rows {
        for column in columns {
          let start = (row * width + column) * channels
          output.append(contentsOf: input[start..<start + channels])
        }
      }
      return output
    }
    switch values {
    case .bytes(let input):
      return Image(width: newWidth, height: newHeight, channels: channels, values: .bytes(gather(input)))
    case .floats(let input):
      return Image(width: newWidth, height: newHeight, channels: channels, values: .floats(gather(input)))
    }
  }
}

/// Which input pixels make each output pixel, and by what weights.
private struct Taps {
  struct Tap {
    /// The first input pixel.
    var first: Int
    /// Positions in `Taps.weights`, one per input pixel from `first` on.
    var weights: Range<Int>
  }

  var taps: [Tap] = []
  var weights: [Double] = []
  var count: Int { taps.count }

  init(from oldSize: Int, to newSize: Int, _ filter: ResizeFilter) {
    let scale = Double(oldSize) / Double(newSize)
    let stretch = max(scale, 1)
    let support = filter.support * stretch
    for place in 0..<newSize {
      let center = (Double(place) + 0.5) * scale
      let first = max(Int(center - support + 0.5), 0)
      let end = min(Int(center + support + 0.5), oldSize)
      let start = weights.count
      var sum = 0.0
      for position in first..<end {
        // Times the reciprocal, as Pillow does; a division may differ in the last bit.
        let weight = filter.weight((Double(position) - center + 0.5) * (1 / stretch))
        weights.append(weight)
        sum += weight
      }
      if sum != 0 {
        for index in start..<weights.count { weights[index] /= sum }
      }
      taps.append(Tap(first: first, weights: start..<weights.count))
    }
  }
}
