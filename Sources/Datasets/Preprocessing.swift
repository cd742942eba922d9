import Support

/// How a picture becomes the input of a network. Every step that is nil or has its neutral value does nothing; steps
/// are done in this order: color, resize, crop, values (× scale, − mean, ÷ std), layout.
package struct Preprocessing: Equatable, Sendable {
  package enum Color: String, CaseIterable, Sendable {
    case rgb
    case bgr
    case gray

    package var channels: Int { self == .gray ? 1 : 3 }
  }

  package enum Layout: String, CaseIterable, Sendable {
    case nchw
    case nhwc
  }

  package enum Resize: Equatable, Sendable {
    /// The shorter side gets this length, the other one keeps the aspect ratio (rounded down, as torchvision does).
    case shortSide(Int, ResizeFilter)
    case size(height: Int, width: Int, ResizeFilter)
  }

  package struct Crop: Equatable, Sendable {
    package var height: Int
    package var width: Int
  }

  package var color: Color?
  package var resize: Resize?
  package var crop: Crop?
  package var scale: Double?
  /// One value, or one per channel.
  package var mean: [Double]?
  package var std: [Double]?
  package var layout: Layout?

  package init() {}

  /// Whether nothing was asked for.
  package var isEmpty: Bool { self == Preprocessing() }

  /// Sides of images after resizing or cropping.
  static let sides = 1...16384
}

extension Preprocessing {
  /// With every value that was left out filled in for a network input of this shape (nil: any extent; the first one
  /// counts samples), and a note saying what was filled in.
  package func completed(
    for shape: [Int?]
  ) throws(CompilerError) -> (preprocessing: Preprocessing, notes: [String]) {
    var result = self
    var filled: [String] = []
    let layout = self.layout ?? Preprocessing.layout(of: shape)
    let channels = try Preprocessing.channels(of: shape, layout)
    if self.layout == nil {
      result.layout = layout
      filled.append("layout \(layout.rawValue)")
    }
    if let color {
      guard channels == nil || channels == color.channels else {
        throw CompilerError(
          "color \(color.rawValue) has \(color.channels) channels; the network's input \(describe(shape)) has "
            + "\(channels ?? 0)", notes: ["change color in the preprocessing"])
      }
    } else {
      // Flat inputs are nearly always digits.
      let color: Color = channels == 1 || shape.count == 2 ? .gray : .rgb
      result.color = color
      filled.append("color \(color.rawValue)")
    }
    if scale == nil {
      result.scale = 1
      filled.append("scale 1")
    }
    if mean == nil {
      result.mean = [0]
      filled.append("mean 0")
    }
    if std == nil {
      result.std = [1]
      filled.append("std 1")
    }
    let colorChannels = (result.color ?? .rgb).channels
    for (name, values) in [("mean", result.mean ?? []), ("std", result.std ?? [])]
    where values.count != 1 && values.count != colorChannels {
      throw CompilerError("\(name) has \(values.count) values for \(colorChannels) channels")
    }
    let note = "preprocessing not given, assumed: " + filled.joined(separator: ", ")
    return (result, filled.isEmpty ? [] : [note])
  }

  /// Channels first unless only the last axis can be one of channels.
  private static func layout(of shape: [Int?]) -> Layout {
    guard shape.count == 4, let second = shape[1], let last = shape[3] else { return .nchw }
    return ![1, 3].contains(second) && [1, 3].contains(last) ? .nhwc : .nchw
  }

  /// The channels of an image input; nil where the shape leaves them open.
  private static func channels(of shape: [Int?], _ layout: Layout) throws(CompilerError) -> Int? {
    switch shape.count {
    case 4:
      let channels = layout == .nchw ? shape[1] : shape[3]
      if let channels, channels != 1 && channels != 3 {
        throw CompilerError(
          "the network's input \(describe(shape)) has \(channels) channels in layout \(layout.rawValue); images have 1 or 3",
          notes: [
            "set layout in the preprocessing, or give the data as .npy or .npz arrays of the input's shape"
          ])
      }
      return channels
    case 3: return 1
    case 2: return nil
    default:
      throw CompilerError(
        "the network's input \(describe(shape)) is not one of images",
        notes: ["give the data as .npy or .npz arrays of the input's shape"])
    }
  }
}

/// `[N, 3, 32, 32]`
func describe(_ shape: [Int?]) -> String {
  "[" + shape.map { $0.map(String.init) ?? "N" }.joined(separator: ", ") + "]"
}
