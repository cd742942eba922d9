/// What one stored number of a tensor means.
package enum ElementType: Hashable, Sendable {
  case f32, i64, i32, u8, i8, bool
  case quantized(QuantizedType)

  /// Bytes of one element in memory; sub-byte integers take a byte until their operation packs them.
  package var sizeInBytes: Int {
    switch self {
    case .f32, .i32: 4
    case .i64: 8
    case .u8, .i8, .bool: 1
    case .quantized: 1
    }
  }
}

/// An integer of 1 to 8 bits that stands for a real number: `real = scale * (stored - zeroPoint)`.
/// Weights have no scale of their own: theirs, one per output channel, are folded into the multipliers of
/// the operation that uses them.
package struct QuantizedType: Hashable, Sendable {
  package var bits: Int
  package var isSigned: Bool
  /// nil: the scale lives in the using operation.
  package var scale: Float?
  package var zeroPoint: Int32

  package init(bits: Int, isSigned: Bool, scale: Float?, zeroPoint: Int32) {
    self.bits = bits
    self.isSigned = isSigned
    self.scale = scale
    self.zeroPoint = zeroPoint
  }
  /// An activation: unsigned, per tensor.
  package static func activation(bits: Int, scale: Float, zeroPoint: Int32) -> QuantizedType {
    QuantizedType(bits: bits, isSigned: false, scale: scale, zeroPoint: zeroPoint)
  }
  /// A weight: signed, symmetric, scale folded away.
  package static func weight(bits: Int) -> QuantizedType {
    QuantizedType(bits: bits, isSigned: true, scale: nil, zeroPoint: 0)
  }
}

/// How a tensor's elements lie in memory.
package enum Layout: Hashable, Sendable {
  /// Row-major over the logical shape.
  case rowMajor
  /// Logical [N, C, H, W] (or [N, C]) stored as N, H, W, C with the channels padded to a multiple of 4, and perhaps a
  /// border of the zero point around every image.
  case channelsLast4(border: Border)

  package static var channelsLast4: Layout { .channelsLast4(border: .none) }

  package var border: Border { if case .channelsLast4(let border) = self { border } else { .none } }
}

/// Rows and columns of the zero point around an image, which convolutions read in place of padding.
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

  package static let none = Border(top: 0, left: 0, bottom: 0, right: 0)
  /// What bounds each side in a program.
  package static let largest = 255

  package var sides: [Int] { [top, left, bottom, right] }
  /// The smallest border that holds both.
  package func union(_ other: Border) -> Border {
    Border(
      top: max(top, other.top), left: max(left, other.left), bottom: max(bottom, other.bottom),
      right: max(right, other.right))
  }
}

/// Shape, meaning and memory layout of a tensor.
package struct TensorType: Hashable, Sendable {
  package var shape: Shape
  package var element: ElementType
  package var layout: Layout

  package init(_ shape: Shape, _ element: ElementType, layout: Layout = .rowMajor) {
    self.shape = shape
    self.element = element
    self.layout = layout
  }
  package init(_ sizes: [Int], _ element: ElementType) { self.init(Shape(sizes), element) }

  /// The quantization of an integer tensor that stands for reals.
  package var quantized: QuantizedType? { if case .quantized(let q) = element { q } else { nil } }

  package func with(shape: Shape) -> TensorType { TensorType(shape, element, layout: layout) }
  package func with(element: ElementType) -> TensorType { TensorType(shape, element, layout: layout) }
}

extension ElementType: CustomStringConvertible {
  package var description: String {
    switch self {
    case .f32: "f32"
    case .i64: "i64"
    case .i32: "i32"
    case .u8: "byte"
    case .i8: "i8"
    case .bool: "bool"
    case .quantized(let q): q.description
    }
  }
}

extension QuantizedType: CustomStringConvertible {
  /// `u8<0.0184:114>` for an activation, `s4` for a weight.
  package var description: String {
    let name = "\(isSigned ? "s" : "u")\(bits)"
    guard let scale else { return name }
    return "\(name)<\(scale):\(zeroPoint)>"
  }
}

extension TensorType: CustomStringConvertible {
  /// `tensor<Nx3x32x32xf32>`, `tensor<Nx16x32x32xu8<0.02:3>, nhwc4>`, with a border `…, nhwc4 border [1, 1, 1, 1]>`
  package var description: String {
    let body = (shape.extents.map(\.description) + ["\(element)"]).joined(separator: "x")
    return switch layout {
    case .rowMajor: "tensor<\(body)>"
    case .channelsLast4(.none): "tensor<\(body), nhwc4>"
    case .channelsLast4(let border): "tensor<\(body), nhwc4 border \(border.sides)>"
    }
  }
}
