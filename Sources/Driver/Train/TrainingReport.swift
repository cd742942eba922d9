import IR
import Numerics
import Trainer

/// What `qcc train` prints at the end.
struct TrainingReport {
  let path: String
  let steps: Int
  /// The last ones, whose mean the result is; 0: the last one's.
  let averagedSteps: Int
  let samples: Int
  let batch: Int
  /// Of the steps that this process did.
  let seconds: Double
  let steppedHere: Int
  let weights: Int
  let loss: Double?
  /// Seconds; the least tells more than the median on machines that others use too.
  let medianStep: Double?
  let leastStep: Double?
  var accuracies: [(name: String, top1: Double)] = []
  var testSamples = 0

  init(
    path: String, steps: Int, averagedSteps: Int, samples: Int, batch: Int, seconds: Double, steppedHere: Int,
    weights: Int,
    loss: Double?, stepSeconds: [Double]
  ) {
    medianStep = stepSeconds.isEmpty ? nil : stepSeconds.sorted()[stepSeconds.count / 2]
    leastStep = stepSeconds.min()
    self.averagedSteps = averagedSteps
    (self.path, self.steps, self.samples, self.batch) = (path, steps, samples, batch)
    (self.seconds, self.steppedHere, self.weights, self.loss) = (seconds, steppedHere, weights, loss)
  }

  /// The sub-networks to measure: of a supernet the uniform widths, all or those named, in every style, else the one there is.
  static func rows(
    _ supernet: Supernet, isElastic: Bool, widths: [Int]
  ) -> [(name: String, subnetwork: Subnetwork)] {
    guard isElastic else { return [("as trained", [:])] }
    return supernet.widths.filter { widths.isEmpty || widths.contains($0) }.flatMap { bits in
      supernet.styles.map { style in
        ("w\(bits)a\(bits), \(style)", supernet.uniform(style, weightBits: bits, activationBits: bits))
      }
    }
  }

  var text: String {
    var lines = [
      "\(path): \(humanCount(weights)) weights, \(steps) steps of \(batch) of \(samples) samples, loss \(fixed(loss ?? .nan, 4))"
        + (averagedSteps > 0 ? ", the mean of the last \(averagedSteps) steps" : "")
    ]
    if seconds > 0 {
      let rate = Double(steppedHere * batch) / seconds
      lines.append("\(steppedHere) steps in \(fixed(seconds, 1)) s, \(fixed(rate, 0)) samples a second")
    }
    if !accuracies.isEmpty {
      var table = Table(["sub-network", "top-1 %"], right: [1])
      for row in accuracies { table.add([row.name, fixed(row.top1, 2)]) }
      lines += ["top-1 of \(testSamples) samples", table.text]
    }
    return lines.joined(separator: "\n")
  }

  var json: Json {
    .object([
      ("path", .string(path)), ("steps", .int(steps)), ("averaged-steps", .int(averagedSteps)),
      ("batch", .int(batch)), ("samples", .int(samples)),
      ("weights", .int(weights)), ("loss", loss.map { .double($0) } ?? .null), ("seconds", .double(seconds)),
      ("median-step-seconds", medianStep.map { .double($0) } ?? .null),
      ("least-step-seconds", leastStep.map { .double($0) } ?? .null),
      ("test-samples", .int(testSamples)),
      (
        "top1",
        .array(accuracies.map { .object([("subnetwork", .string($0.name)), ("top1", .double($0.top1))]) })
      ),
    ])
  }
}
