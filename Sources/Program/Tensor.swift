extension Program {
  /// One sample's worth of a tensor: what it means and where it lies. A batch is a loop over samples.
  package struct Tensor: Hashable, Sendable {
    package enum Element: UInt8, Sendable {
      case u8 = 0
      case f32 = 1

      package var size: Int { self == .u8 ? 1 : 4 }
    }

    package enum Layout: UInt8, Sendable {
      /// Row-major over `shape`, without gaps.
      case rowMajor = 0
      /// `shape` is [C] or [C, H, W]; pixels follow one another by rows, `pixelStride` bytes apart. The bytes
      /// between `channels` and the next multiple of 4 hold anything.
      case channelsLast4 = 1
    }

    package enum Storage: Hashable, Sendable {
      /// Bytes from the start of the arena. Tensors may share bytes: the memory plan decides.
      case arena(offset: Int)
      /// The caller's n-th input or output: f32, row-major.
      case input(Int)
      case output(Int)
    }

    package var name: Name
    package var element: Element
    package var layout: Layout
    /// Without the batch; 1 to 6 extents.
    package var shape: [Int]
    package var storage: Storage
    /// Bytes from pixel to pixel, a multiple of 4; 0 for row-major tensors.
    package var pixelStride: Int
    /// `real = scale * (stored - zeroPoint)`; 1 and 0 for f32.
    package var scale: Float
    package var zeroPoint: UInt8
    /// Significant bits of a stored number: 1 to 8, or 32 for f32.
    package var bits: UInt8

    package init(
      name: Name, element: Element, layout: Layout, shape: [Int], storage: Storage, pixelStride: Int,
      scale: Float, zeroPoint: UInt8, bits: UInt8
    ) {
      self.name = name
      self.element = element
      self.layout = layout
      self.shape = shape
      self.storage = storage
      self.pixelStride = pixelStride
      self.scale = scale
      self.zeroPoint = zeroPoint
      self.bits = bits
    }

    /// An activation in the layout of the kernels; the pixel stride is the channels rounded up to 4.
    package static func activation(
      _ name: Name, shape: [Int], arenaOffset: Int, scale: Float, zeroPoint: UInt8, bits: UInt8 = 8
    ) -> Tensor {
      Tensor(
        name: name, element: .u8, layout: .channelsLast4, shape: shape, storage: .arena(offset: arenaOffset),
        pixelStride: roundedUp((shape.first ?? 1), to: 4), scale: scale, zeroPoint: zeroPoint, bits: bits)
    }

    /// An activation in row-major order: what reshapes give that are no images.
    package static func rowMajorActivation(
      _ name: Name, shape: [Int], arenaOffset: Int, scale: Float, zeroPoint: UInt8, bits: UInt8 = 8
    ) -> Tensor {
      Tensor(
        name: name, element: .u8, layout: .rowMajor, shape: shape, storage: .arena(offset: arenaOffset),
        pixelStride: 0, scale: scale, zeroPoint: zeroPoint, bits: bits)
    }

    /// Real numbers: the caller's, or between a dequantization and a softmax.
    package static func real(_ name: Name, shape: [Int], storage: Storage) -> Tensor {
      Tensor(
        name: name, element: .f32, layout: .rowMajor, shape: shape, storage: storage, pixelStride: 0,
        scale: 1,
        zeroPoint: 0, bits: 32)
    }

    // MARK: Geometry (of a validated tensor, or one from the compiler: products do not overflow)

    package var elementCount: Int { shape.reduce(1, *) }
    /// Every row-major tensor is one pixel whose channels are its elements.
    package var channels: Int { layout == .rowMajor ? elementCount : shape[0] }
    package var height: Int { layout == .rowMajor || shape.count < 3 ? 1 : shape[1] }
    package var width: Int { layout == .rowMajor || shape.count < 3 ? 1 : shape[2] }
    package var pixels: Int { height * width }
    /// Bytes from the first to the last, padding channels of the last pixel included.
    package var byteCount: Int {
      switch layout {
      case .rowMajor: elementCount * element.size
      case .channelsLast4: (pixels - 1) * pixelStride + roundedUp(channels, to: 4)
      }
    }
  }
}

/// UTF-8 text that the Embedded subset can hold without Unicode tables.
package struct Name: Hashable, Sendable {
  package var utf8: [UInt8]

  package init(utf8: [UInt8]) {
    self.utf8 = utf8
  }
}

#if !hasFeature(Embedded)
  extension Name: ExpressibleByStringLiteral, CustomStringConvertible {
    package init(_ text: String) { self.init(utf8: Array(text.utf8)) }
    package init(stringLiteral text: String) { self.init(text) }
    package var description: String { String(decoding: utf8, as: UTF8.self) }
  }
#endif

/// - Requires: the result fits.
@inlinable
package func roundedUp(_ value: Int, to multiple: Int) -> Int { (value + multiple - 1) / multiple * multiple }
