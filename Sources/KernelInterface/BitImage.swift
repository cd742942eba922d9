/// What makes the images that convolutions of bits read.
package struct BitImageKernel: Sendable {
  package let name: StaticString
  package let features: CPUFeatures
  package let function: @Sendable (BitImageArguments) -> Void

  package init(
    _ name: StaticString, needs features: CPUFeatures,
    _ function: @escaping @Sendable (BitImageArguments) -> Void
  ) {
    self.name = name
    self.features = features
    self.function = function
  }
}

/// Numbers to planes of bits, for convolutions of bits: bit b of channel c of a pixel becomes bit c % 32 of word c / 32
/// of plane b. A pixel is its planes from the lowest on, each of as many words as hold the channels, whose excess bits
/// are 0; pixels follow one another. Kernels read at most 64 bytes behind the last channel.
package struct BitImageArguments {
  package var source: UnsafePointer<UInt8>
  /// Bytes from pixel to pixel.
  package var sourceStride: Int
  package var pixels: Int
  package var channels: Int
  package var planes: Int
  package var target: UnsafeMutablePointer<UInt32>

  package init(
    source: UnsafePointer<UInt8>, sourceStride: Int, pixels: Int, channels: Int, planes: Int,
    target: UnsafeMutablePointer<UInt32>
  ) {
    self.source = source
    self.sourceStride = sourceStride
    self.pixels = pixels
    self.channels = channels
    self.planes = planes
    self.target = target
  }
}
