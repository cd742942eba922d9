import Support

/// Samples along the first axis of one or more arrays, with an optional array of class indices.
struct ArrayDataset: Sendable {
  let count: Int
  private let inputs: [(name: String, array: NumPyArray)]
  private let labels: [Int]?
  /// How bytes are pixels; nil when the arrays are tensors.
  private let imageForm: ImageForm?

  /// Member names of an `.npz` that mean class indices.
  private static let labelNames = ["labels", "label", "y", "y_test", "y_train", "targets", "target"]

  init(npy path: String, labels labelPath: String?, limits: DataLimits) throws(CompilerError) {
    let array = try NumPyArray(path: path)
    let beside = String(path.dropLast(path.hasSuffix(".npy") ? 4 : 0)) + ".labels.npy"
    let labels = labelPath ?? (PathKind(beside) == .file ? beside : nil)
    try self.init(
      [("", array)], file: path,
      labels: labels.map { path throws(CompilerError) in try NumPyArray(path: path) })
  }

  init(npz path: String, labels labelPath: String?, limits: DataLimits) throws(CompilerError) {
    var arrays = try readNumPyZip(path, limits: limits)
    var labels: NumPyArray?
    if let labelPath {
      labels = try NumPyArray(path: labelPath)
    } else if arrays.count > 1, let index = arrays.firstIndex(where: { Self.labelNames.contains($0.name) }) {
      labels = arrays.remove(at: index).array
    }
    try self.init(arrays, file: path, labels: labels)
  }

  private init(
    _ inputs: [(name: String, array: NumPyArray)], file: String, labels: NumPyArray?
  ) throws(CompilerError) {
    let counts = inputs.map { $0.array.header.shape.first ?? 0 }
    guard let count = counts.first, counts.allSatisfy({ $0 == count }) else {
      let members = inputs.map { "\(printable($0.name)) \($0.array.header.shape)" }.joined(separator: ", ")
      throw dataError(
        "holds arrays with different numbers of samples: \(members)", file: file,
        notes: ["the first axis counts the samples; save one set of data per file, labels as 'labels'"])
    }
    for input in inputs where input.array.header.elementCount == 0 {
      throw dataError(
        "holds no samples: the shape is \(input.array.header.shape)", file: input.array.name,
        notes: ["the first axis counts the samples"])
    }
    self.count = count
    self.inputs = inputs
    self.imageForm = inputs.count == 1 ? ImageForm(inputs[0].array.header) : nil
    self.labels = try labels.map { array throws(CompilerError) in try Self.classIndices(array, count: count) }
  }

  var hasLabels: Bool { labels != nil }
  var holdsImages: Bool { imageForm != nil }

  func sample(at index: Int) throws(CompilerError) -> Sample {
    let label = labels?[index]
    if let imageForm {
      let bytes = try inputs[0].array.bytes(from: index * imageForm.size, count: imageForm.size)
      return Sample(content: .image(imageForm.image(bytes)), label: label)
    }
    var arrays: [(name: String, array: NumericArray)] = []
    for (name, array) in inputs {
      let shape = Array(array.header.shape.dropFirst())
      let size = shape.reduce(1, *)
      arrays.append(
        (name, NumericArray(shape: shape, values: try array.floats(from: index * size, count: size))))
    }
    return Sample(content: .arrays(arrays), label: label)
  }

  private static func classIndices(_ array: NumPyArray, count: Int) throws(CompilerError) -> [Int] {
    guard array.header.shape == [count] || array.header.shape == [count, 1] else {
      throw dataError(
        "has the shape \(array.header.shape); labels of these data have the shape [\(count)]",
        file: array.name)
    }
    let values = try array.floats(from: 0, count: count)
    var result: [Int] = []
    result.reserveCapacity(count)
    for (index, value) in values.enumerated() {
      guard value >= 0, value < 10_000_000, value == value.rounded() else {
        throw dataError("label \(index) is \(value), not a class index", file: array.name)
      }
      result.append(Int(value))
    }
    return result
  }
}

/// How one sample of an array of bytes is a picture.
private struct ImageForm: Sendable {
  var height: Int
  var width: Int
  var channels: Int
  var isPlanar: Bool

  var size: Int { height * width * channels }

  /// [N,H,W], [N,H,W,C] or [N,C,H,W] with 1 or 3 channels, of bytes.
  init?(_ header: NumPyHeader) {
    guard header.element == .uint8 else { return nil }
    let shape = Array(header.shape.dropFirst())
    if shape.count == 2 {
      (height, width, channels, isPlanar) = (shape[0], shape[1], 1, false)
    } else if shape.count == 3, [1, 3].contains(shape[2]) {
      (height, width, channels, isPlanar) = (shape[0], shape[1], shape[2], false)
    } else if shape.count == 3, [1, 3].contains(shape[0]) {
      (height, width, channels, isPlanar) = (shape[1], shape[2], shape[0], true)
    } else {
      return nil
    }
  }

  func image(_ bytes: [UInt8]) -> Image {
    isPlanar
      ? Image(planes: bytes[...], width: width, height: height, channels: channels) { .bytes($0) }
      : Image(width: width, height: height, channels: channels, values: .bytes(bytes))
  }
}
