import ArgumentParser
import Datasets
import IR
import PassKit
import Program
import Support

/// Where samples come from and how they become network inputs.
struct DataFlags: ParsableArguments {
  @Option(help: "Samples: a folder of images, .npy, .npz, IDX or CIFAR-10 files.") var data: String?
  @Option(help: "Class indices: a .tsv with file names and indices under a header line, or an array.")
  var labels: String?
  @Option(help: "How many samples, chosen by the seed; default: all.") var samples: Int?
  @Option(help: "Seed of every random choice.") var seed: UInt64 = 0
  @Option(help: ArgumentHelp("YAML with color, resize, crop, scale, mean, std, layout.", valueName: "file"))
  var preprocess: String?
  @Option(help: "As in the YAML: rgb, bgr or gray.") var color: String?
  @Option(help: "As in the YAML, such as '{short_side: 256, filter: bilinear}'.") var resize: String?
  @Option(help: "As in the YAML, such as '{center: [224, 224]}'.") var crop: String?
  @Option(help: "Factor of pixels 0…255.") var scale: String?
  @Option(help: "Subtracted after scaling: a number or one for each channel.") var mean: String?
  @Option(help: "Divided by at the end: a number or one for each channel.") var std: String?
  @Option(help: "Layout of the network's input: nchw or nhwc.") var layout: String?

  func validate() throws {
    if let samples, samples < 1 { throw ValidationError("--samples must be at least 1") }
  }

  private var settings: [(key: String, value: String?)] {
    [
      ("color", color), ("resize", resize), ("crop", crop), ("scale", scale), ("mean", mean), ("std", std),
      ("layout", layout),
    ]
  }
  /// Whether any flag says how pixels become inputs.
  var declaresPreprocessing: Bool { preprocess != nil || settings.contains { $0.value != nil } }

  /// The YAML file with the flags on top.
  private func declared() throws(CompilerError) -> Preprocessing {
    var result = Preprocessing()
    if let preprocess { result = try Preprocessing(path: preprocess) }
    for (key, value) in settings { if let value { try result.set(key, to: value) } }
    return result
  }
  /// The declared preprocessing in canonical form; nil when there is none.
  func declaredPreprocessing() throws(CompilerError) -> String? {
    declaresPreprocessing ? try declared().canonicalText : nil
  }

  /// The interval that preprocessing maps pixels 0…255 to, over all channels; nil when none is declared.
  func inputInterval() throws(CompilerError) -> ClosedRange<Float>? {
    guard declaresPreprocessing else { return nil }
    let declared = try declared()
    let scale = declared.scale ?? 1, means = declared.mean ?? [0], deviations = declared.std ?? [1]
    var low = Double.infinity, high = -Double.infinity
    for channel in 0..<max(means.count, deviations.count) {
      let mean = means[min(channel, means.count - 1)],
        deviation = deviations[min(channel, deviations.count - 1)]
      for pixel in [0.0, 255.0] {
        let value = (pixel * scale - mean) / deviation
        low = min(low, value)
        high = max(high, value)
      }
    }
    return low < high ? Float(low)...Float(high) : nil
  }

  /// The chosen samples for a network whose input has this shape; nil without --data.
  /// - Parameters:
  ///   - embedded: preprocessing that a program brings along, used when no flag declares one.
  ///   - shuffled: for those that take the first few of them, in an order that the seed chooses.
  func source(
    inputShape: [Int?], embedded: String?, shuffled: Bool = false
  ) throws(CompilerError) -> SampleSource? {
    guard let data else { return nil }
    let dataset: Dataset
    dataset = try Dataset(path: data, labels: labels)
    var preprocessing = try declared()
    // Float arrays are network inputs already.
    if !declaresPreprocessing, !dataset.holdsArrays, let embedded {
      preprocessing = try Preprocessing(yaml: embedded, file: "the program's preprocessing")
    }
    let prepared = try PreparedDataset(
      dataset, inputShape: inputShape, preprocessing: preprocessing, samples: samples, seed: seed,
      shuffled: shuffled)
    for note in prepared.notes { Console.report(Diagnostic(.note, note)) }
    return SampleSource(prepared)
  }

  /// The same, shuffled, for a graph with one f32 input: passes look at the first few of many samples.
  func source(for graph: Graph) throws(CompilerError) -> SampleSource? {
    guard data != nil else { return nil }
    guard graph.inputs.count == 1, let input = graph.inputs.first else {
      throw CompilerError("--data feeds networks with one input; this one has \(graph.inputs.count)")
    }
    return try source(inputShape: graph[input].type.shape.extents.map(\.value), embedded: nil, shuffled: true)
  }
  func calibration(for graph: Graph) throws(CompilerError) -> (any CalibrationData)? {
    guard let source = try source(for: graph) else { return nil }
    return source
  }
}

/// Samples as network inputs, with labels where there are any.
struct SampleSource: CalibrationData {
  let prepared: PreparedDataset

  init(_ prepared: PreparedDataset) { self.prepared = prepared }

  var count: Int { prepared.count }
  var hasLabels: Bool { prepared.dataset.hasLabels }
  /// In canonical form, to be stored with a program; nil when the data are network inputs already.
  var preprocessing: String? { prepared.preprocessing?.canonicalText }
  func name(_ index: Int) -> String { prepared.name(of: index) }
  func sample(_ index: Int) throws -> [Float] { try prepared.sample(index).values }
  /// All samples in order, read ahead.
  func loader(threads: Int) -> BatchLoader { BatchLoader(prepared, threads: threads) }
}
