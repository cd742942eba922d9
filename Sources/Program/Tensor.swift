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
      /// `shape` is [C] or [C, H, W]; pixels follow one another by rows, `pixelStride` bytes apart, each row within its
      /// border. The bytes between `channels` and the next multiple of 4 hold anything.
      case channelsLast4 = 1
    }

    /// Rows and columns of the zero point around an image, for convolutions that read beyond it. Whatever writes the
    /// tensor writes them too; they are no elements.
    package struct Border: Hashable, Sendable {
      package var top: Int
      package var left: Int
      package var bottom: Int
      package var right: Int

      package init(top: Int, left: Int, bottom: Int, right: Int) {
        self.top = top
        self.left = left
        self.bottom = bottom
        self.right = right
      }

      /// A window may read it instead of padding.
      package func covers(_ window: Instruction.Window) -> Bool {
        top >= window.padTop && left >= window.padLeft && bottom >= window.padBottom
          && right >= window.padRight
      }

      package static let none = Border(top: 0, left: 0, bottom: 0, right: 0)
      /// What bounds each side in a file.
      package static let largest = 255
    }

    package enum Storage: Hashable, Sendable {
      /// Bytes from the start of the arena. Tensors may share bytes: the memory plan decides, and
      /// an instruction's result overlaps its operands in ways that are safe only.
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
    /// None but of channels-last images [C, H, W].
    package var border: Border
    /// `real = scale * (stored - zeroPoint)`; 1 and 0 for f32.
    package var scale: Float
    package var zeroPoint: UInt8
    /// Significant bits of a stored number: 1 to 8, or 32 for f32.
    package var bits: UInt8

    package init(
      name: Name, element: Element, layout: Layout, shape: [Int], storage: Storage, pixelStride: Int,
      border: Border = .none, scale: Float, zeroPoint: UInt8, bits: UInt8
    ) {
      self.name = name
      self.element = element
      self.layout = layout
      self.shape = shape
      self.storage = storage
      self.pixelStride = pixelStride
      self.border = border
      self.scale = scale
      self.zeroPoint = zeroPoint
      self.bits = bits
    }

    /// An activation in the layout of the kernels; the pixel stride is the channels rounded up to 4.
    package static func activation(
      _ name: Name, shape: [Int], arenaOffset: Int, border: Border = .none, scale: Float, zeroPoint: UInt8,
      bits: UInt8 = 8
    ) -> Tensor {
      Tensor(
        name: name, element: .u8, layout: .channelsLast4, shape: shape, storage: .arena(offset: arenaOffset),
        pixelStride: roundedUp((shape.first ?? 1), to: 4), border: border, scale: scale, zeroPoint: zeroPoint,
        bits: bits)
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
    /// Of the image with its border.
    package var storedHeight: Int { border.top + height + border.bottom }
    package var storedWidth: Int { border.left + width + border.right }
    package var rowStride: Int { storedWidth * pixelStride }
    /// Bytes from the first of the border to the first of the image.
    package var imageOffset: Int { border.top * rowStride + border.left * pixelStride }
    /// Bytes from the first to the last, border and padding channels of the last pixel included.
    package var byteCount: Int {
      switch layout {
      case .rowMajor: elementCount * element.size
      case .channelsLast4: (storedHeight * storedWidth - 1) * pixelStride + roundedUp(channels, to: 4)
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
