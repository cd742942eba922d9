import Support

/// Turns samples into the float32 input of a network of a given shape.
package struct Preparation: Sendable {
  /// Complete: every value is set.
  package let preprocessing: Preprocessing
  /// The network's input; nil extents are free, the first one counts samples.
  package let inputShape: [Int?]
  /// Values of bytes per channel (one row of 256 for each), as float32 of the exact result.
  private let table: [Float]

  /// - Parameter preprocessing: complete (`Preprocessing.completed(for:)`).
  package init(_ preprocessing: Preprocessing, inputShape: [Int?]) {
    self.preprocessing = preprocessing
    self.inputShape = inputShape
    let channels = (preprocessing.color ?? .rgb).channels
    table = (0..<channels * 256).map { preprocessing.value(Double($0 % 256), channel: $0 / 256) }
  }

  package func prepare(_ image: Image) throws(CompilerError) -> [Float] {
    var image = try image.converted(to: preprocessing.color ?? .rgb)
    if let resize = preprocessing.resize {
      let (height, width, filter) = try resize.size(for: image)
      image = image.resized(width: width, height: height, filter: filter)
    }
    if let crop = preprocessing.crop { image = try image.cropped(crop) }
    try checkShape(image)

    let area = image.width * image.height
    let channels = image.channels
    var result = [Float](repeating: 0, count: area * channels)
    // Position of a value: pixel * pixelStride + channel * channelStride.
    let isPlanar = preprocessing.layout != .nhwc
    let (pixelStride, channelStride) = isPlanar ? (1, area) : (channels, 1)
    switch image.values {
    case .bytes(let bytes):
      for channel in 0..<channels {
        for pixel in 0..<area {
          result[pixel * pixelStride + channel * channelStride] =
            table[channel * 256 + Int(bytes[pixel * channels + channel])]
        }
      }
    case .floats(let floats):
      for channel in 0..<channels {
        for pixel in 0..<area {
          result[pixel * pixelStride + channel * channelStride] =
            preprocessing.value(Double(floats[pixel * channels + channel]), channel: channel)
        }
      }
    }
    return result
  }

  private func checkShape(_ image: Image) throws(CompilerError) {
    let shape: [Int]
    switch inputShape.count {
    case 2: shape = [image.width * image.height * image.channels]
    case 3: shape = [image.height, image.width]
    default:
      shape =
        preprocessing.layout == .nhwc
        ? [image.height, image.width, image.channels] : [image.channels, image.height, image.width]
    }
    guard fits(shape, inputShape) else {
      throw CompilerError(
        "preprocessed images have the shape \(shape); the network's input is \(describe(inputShape))",
        notes: ["add resize or crop to the preprocessing, for example resize: {size: \(wantedSize)}"])
    }
  }

  private var wantedSize: String {
    guard inputShape.count == 4 else { return "[height, width]" }
    let sides = preprocessing.layout == .nhwc ? inputShape[1...2] : inputShape[2...3]
    return "[" + sides.map { $0.map(String.init) ?? "any" }.joined(separator: ", ") + "]"
  }
}

/// Whether a sample's shape is the network's input without its first axis.
func fits(_ shape: [Int], _ input: [Int?]) -> Bool {
  shape.count + 1 == input.count && zip(shape, input.dropFirst()).allSatisfy { $1 == nil || $0 == $1 }
}

extension Preprocessing {
  /// × scale, − mean, ÷ std, in double precision, rounded once.
  fileprivate func value(_ pixel: Double, channel: Int) -> Float {
    let mean = self.mean ?? [0]
    let std = self.std ?? [1]
    let shifted = pixel * (scale ?? 1) - (mean.count == 1 ? mean[0] : mean[channel])
    return Float(shifted / (std.count == 1 ? std[0] : std[channel]))
  }
}

extension Preprocessing.Resize {
  fileprivate func size(for image: Image) throws(CompilerError) -> (height: Int, width: Int, ResizeFilter) {
    switch self {
    case .size(let height, let width, let filter): return (height, width, filter)
    case .shortSide(let length, let filter):
      let (short, long) = (min(image.width, image.height), max(image.width, image.height))
      let newLong = length * long / short
      guard newLong <= Preprocessing.sides.upperBound else {
        throw CompilerError("an image of \(image.width) x \(image.height) pixels is too narrow to be resized")
      }
      return image.width <= image.height ? (newLong, length, filter) : (length, newLong, filter)
    }
  }
}

extension Image {
  /// Gray is Rec. 601 luma with 16-bit weights, as Pillow computes it.
  fileprivate func converted(to color: Preprocessing.Color) throws(CompilerError) -> Image {
    if color.channels == channels && color != .bgr { return self }
    func map<Value>(_ input: [Value], _ luma: (Value, Value, Value) -> Value) -> [Value] {
      var output: [Value] = []
      output.reserveCapacity(width * height * color.channels)
      for start in stride(from: 0, to: input.count, by: channels) {
        if color == .gray {
          output.append(luma(input[start], input[start + 1], input[start + 2]))
        } else if channels == 1 {
          for _ in 0..<3 { output.append(input[start]) }
        } else {
          for channel in [2, 1, 0] { output.append(input[start + channel]) }
        }
      }
      return output
    }
    switch values {
    case .bytes(let bytes):
      let mapped = map(bytes) { red, green, blue in
        let sum: UInt32 = UInt32(red) * 19595 + UInt32(green) * 38470 + UInt32(blue) * 7471
        return UInt8((sum + 0x8000) >> 16)
      }
      return Image(width: width, height: height, channels: color.channels, values: .bytes(mapped))
    case .floats(let floats):
      let mapped = map(floats) { (red: Float, green: Float, blue: Float) -> Float in
        red * 0.299 + green * 0.587 + blue * 0.114
      }
      return Image(width: width, height: height, channels: color.channels, values: .floats(mapped))
    }
  }

  /// The middle; where it cannot be exact, the position is rounded half to even, as torchvision does.
  fileprivate func cropped(_ crop: Preprocessing.Crop) throws(CompilerError) -> Image {
    guard crop.height <= height, crop.width <= width else {
      throw CompilerError(
        "the crop of \(crop.height) x \(crop.width) is larger than the image of \(height) x \(width) (height x width)",
        notes: ["resize the images to at least the crop first"])
    }
    let top = Int((Double(height - crop.height) / 2).rounded(.toNearestOrEven))
    let left = Int((Double(width - crop.width) / 2).rounded(.toNearestOrEven))
    func rows<Value>(_ input: [Value]) -> [Value] {
      var output: [Value] = []
      output.reserveCapacity(crop.width * crop.height * channels)
      for row in top..<top + crop.height {
        let start = (row * width + left) * channels
        output.append(contentsOf: input[start..<start + crop.width * channels])
      }
      return output
    }
    switch values {
    case .bytes(let bytes):
      return Image(width: crop.width, height: crop.height, channels: channels, values: .bytes(rows(bytes)))
    case .floats(let floats):
      return Image(width: crop.width, height: crop.height, channels: channels, values: .floats(rows(floats)))
    }
  }
}
