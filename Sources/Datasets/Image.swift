/// A decoded picture: rows from the top, pixels from the left, the channels of a pixel side by side.
package struct Image: Equatable, Sendable {
  package enum Values: Equatable, Sendable {
    case bytes([UInt8])
    /// Pixels that come from float arrays; also 0…255 by the meaning of `scale`, but not limited to it.
    case floats([Float])
  }

  package var width: Int
  package var height: Int
  /// 1 (gray) or 3 (red, green, blue).
  package var channels: Int
  /// `height * width * channels` values.
  package var values: Values

  package init(width: Int, height: Int, channels: Int, values: Values) {
    self.width = width
    self.height = height
    self.channels = channels
    self.values = values
  }

  /// From planes: all of channel 0, then all of channel 1, and so on.
  init<Element>(
    planes: ArraySlice<Element>, width: Int, height: Int, channels: Int, _ wrap: ([Element]) -> Values
  ) {
    let area = width * height
    var pixels: [Element] = []
    pixels.reserveCapacity(area * channels)
    for position in 0..<area {
      for channel in 0..<channels { pixels.append(planes[planes.startIndex + channel * area + position]) }
    }
    self.init(width: width, height: height, channels: channels, values: wrap(pixels))
  }
}

/// An array of numbers as read from a file, converted to float32, in C order.
package struct NumericArray: Equatable, Sendable {
  package var shape: [Int]
  package var values: [Float]

  package init(shape: [Int], values: [Float]) {
    self.shape = shape
    self.values = values
  }
}

/// One thing to run the network on.
package struct Sample: Sendable {
  package enum Content: Sendable {
    case image(Image)
    /// Arrays with the names of their file's members ("" in an `.npy`), without the batch axis.
    case arrays([(name: String, array: NumericArray)])
  }

  package var content: Content
  /// The class index.
  package var label: Int?
}
