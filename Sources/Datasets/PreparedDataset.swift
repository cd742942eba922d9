import Support

/// The chosen samples of a dataset as inputs of one network: what calibration, evaluation and running read.
package struct PreparedDataset: Sendable {
  package let dataset: Dataset
  /// The samples used, as indices of the dataset: increasing, unless they were shuffled.
  package let indices: [Int]
  /// The network's input; nil extents are free, the first one counts samples.
  package let inputShape: [Int?]
  /// What to store with a program: complete for images, nil for arrays that are used as they are.
  package let preprocessing: Preprocessing?
  /// What the user should know.
  package let notes: [String]
  private let preparation: Preparation?

  /// - Parameters:
  ///   - samples: how many to use, all when nil; `seed` chooses which.
  ///   - shuffled: in an order that `seed` chooses, so that the first few are like all, instead of the dataset's.
  package init(
    _ dataset: Dataset, inputShape: [Int?], preprocessing: Preprocessing, samples: Int? = nil,
    seed: UInt64 = 0, shuffled: Bool = false
  ) throws(CompilerError) {
    self.dataset = dataset
    self.inputShape = inputShape
    indices = (shuffled ? shuffledSamples : selectSamples)(dataset.count, samples, seed)
    guard !indices.isEmpty else { throw CompilerError("no samples were asked for") }
    var notes = dataset.notes
    if let samples, samples > dataset.count {
      notes.append("\(dataset.path) holds \(dataset.count) samples; all are used, \(samples) were asked for")
    }
    if dataset.holdsArrays && preprocessing.isEmpty {
      self.preprocessing = nil
      preparation = nil
    } else {
      let (complete, assumed) = try preprocessing.completed(for: inputShape)
      self.preprocessing = complete
      preparation = Preparation(complete, inputShape: inputShape)
      notes += assumed
    }
    self.notes = notes
  }

  package var count: Int { indices.count }

  /// The file, or the data's path with a number, of sample `position`.
  package func name(of position: Int) -> String { dataset.name(of: indices[position]) }

  /// The network's input for the `position`-th chosen sample, row-major, without the batch axis, and its class index.
  /// May be called from several threads.
  /// - Throws: `malformedInput` or `missingInput` when this sample cannot be read, `rejected` when it does not fit.
  package func sample(_ position: Int) throws(CompilerError) -> (values: [Float], label: Int?) {
    let sample = try dataset.sample(at: indices[position])
    do throws(CompilerError) {
      return (try input(sample.content), sample.label)
    } catch {
      var error = error
      for index in error.diagnostics.indices where error.diagnostics[index].location.isEmpty {
        error.diagnostics[index].location = name(of: position)
      }
      throw error
    }
  }

  private func input(_ content: Sample.Content) throws(CompilerError) -> [Float] {
    switch content {
    case .image(let image):
      // Non-nil by the initializer: images always have a preparation.
      guard let preparation else { throw CompilerError("images need preprocessing", status: .internalError) }
      return try preparation.prepare(image)
    case .arrays(let arrays):
      guard arrays.count == 1 else {
        throw CompilerError(
          "holds \(arrays.count) arrays (\(arrays.map { printable($0.name) }.joined(separator: ", "))); the network has one input",
          notes: ["save the input alone, and class indices as 'labels'"])
      }
      let array = arrays[0].array
      if let preparation { return try preparation.prepare(try Image(array)) }
      guard fits(array.shape, inputShape) else {
        throw CompilerError(
          "samples have the shape \(array.shape); the network's input is \(describe(inputShape))",
          notes: ["the array's first axis counts the samples, the others are those of the input"])
      }
      return array.values
    }
  }
}

extension Image {
  /// An array of float pixels, for which preprocessing was asked: [H,W], [C,H,W] or [H,W,C] with 1 or 3 channels.
  fileprivate init(_ array: NumericArray) throws(CompilerError) {
    let shape = array.shape
    if shape.count == 2 {
      self.init(width: shape[1], height: shape[0], channels: 1, values: .floats(array.values))
    } else if shape.count == 3, [1, 3].contains(shape[0]) {
      self.init(planes: array.values[...], width: shape[2], height: shape[1], channels: shape[0]) {
        .floats($0)
      }
    } else if shape.count == 3, [1, 3].contains(shape[2]) {
      self.init(width: shape[1], height: shape[0], channels: shape[2], values: .floats(array.values))
    } else {
      throw CompilerError(
        "samples of shape \(shape) are not images, so that preprocessing cannot be applied",
        notes: ["leave out the preprocessing when the array already holds the network's input"])
    }
  }
}
