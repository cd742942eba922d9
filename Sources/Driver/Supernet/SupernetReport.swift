import Search
import Trainer

/// What a search through a supernet found.
struct SupernetReport {
  struct Entry {
    var subnet: [Int]
    var style: Supernet.Style
    /// Means over the quantizers that are free.
    var weightBits: Double
    var activationBits: Double
    /// Of weights and activations together.
    var jointBits: Double
    /// Products times weight bits times activation bits, pinned layers too.
    var bitOperations: Double
    /// What sub-networks are compared by, in percent: as predicted, and as measured.
    var predicted: Double
    var score: Double
    /// On the measured samples, and top-1 on those of --test, in percent.
    var quality: SubnetworkQuality
    var tested: Double?

    var json: Json {
      .object([
        ("weight-bits", .double(weightBits)), ("activation-bits", .double(activationBits)),
        ("joint-bits", .double(jointBits)), ("bit-operations", .double(bitOperations)),
        ("predicted", .double(predicted)), ("fidelity", .double(quality.fidelity)),
        ("measured", .double(quality.accuracy)), ("tested", tested.map { .double($0) } ?? .null),
        ("style", .string("\(style)")),
      ])
    }
    var cells: [String] {
      [
        fixed(weightBits, 2), fixed(activationBits, 2), fixed(jointBits, 2), fixed(bitOperations / 1e6, 1),
        fixed(predicted, 2), fixed(quality.fidelity, 2), fixed(quality.accuracy, 2),
        tested.map { fixed($0, 2) } ?? "", "\(style)",
      ]
    }
  }
  /// Best first, or the front from the cheapest on.
  let entries: [Entry]
  /// Every width's best uniform sub-network, widest first.
  let uniform: [Entry]
  let quality: PredictionQuality?
  let pairs: Int
  let rank: SupernetFlags.Rank

  var text: String {
    var table = Table(
      [
        "sub-network", "weight bits", "activation bits", "joint bits", "M bit operations",
        "predicted \(rank.rawValue) %", "fidelity %", "top1 %", "test %", "style",
      ], right: [1, 2, 3, 4, 5, 6, 7, 8])
    for (index, entry) in entries.enumerated() { table.add(["found \(index + 1)"] + entry.cells) }
    for entry in uniform { table.add(["uniform \(fixed(entry.weightBits, 0))"] + entry.cells) }
    return table.text + "\n" + predictorText
  }

  private var predictorText: String {
    guard let quality else { return "predictor: \(pairs) measured sub-networks" }
    return
      "predictor of \(rank.rawValue) on a fifth of \(pairs) measured sub-networks: Pearson \(fixed(quality.pearson, 3)), Kendall \(fixed(quality.kendall, 3)), mean error \(fixed(quality.meanAbsoluteError, 2)) points"
  }

  var json: Json {
    .object([
      ("found", .array(entries.map(\.json))), ("uniform", .array(uniform.map(\.json))),
      ("rank", .string(rank.rawValue)), ("pairs", .int(pairs)),
      ("pearson", quality.map { .double($0.pearson) } ?? .null),
      ("kendall", quality.map { .double($0.kendall) } ?? .null),
      ("spearman", quality.map { .double($0.spearman) } ?? .null),
      ("mean-absolute-error", quality.map { .double($0.meanAbsoluteError) } ?? .null),
    ])
  }

  /// The front as a table for spreadsheets.
  var csv: String {
    let rows = entries.map { entry in
      "\(entry.weightBits),\(entry.activationBits),\(entry.jointBits),\(entry.bitOperations),\(entry.predicted),\(entry.quality.fidelity),\(entry.quality.accuracy),\(entry.tested.map { "\($0)" } ?? "")"
    }
    return
      (["weight-bits,activation-bits,joint-bits,bit-operations,predicted,fidelity,measured,tested"] + rows)
      .joined(separator: "\n")
      + "\n"
  }
  var chart: LineChart {
    LineChart(
      title: "A supernet's front", horizontal: "average weight bits",
      panels: [
        LineChart.Panel("\(rank.rawValue) of the front, measured", entries.map { ($0.weightBits, $0.score) }),
        LineChart.Panel(
          "\(rank.rawValue) of uniform widths, measured", uniform.reversed().map { ($0.weightBits, $0.score) }
        ),
      ])
  }
}
