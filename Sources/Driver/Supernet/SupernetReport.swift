import Search

/// What a search through a supernet found.
struct SupernetReport {
  struct Entry {
    var subnet: [Int]
    /// Means over the quantizers that are free.
    var weightBits: Double
    var activationBits: Double
    /// Top-1 in percent: as predicted, on the measured samples, on those of --test.
    var predicted: Double
    var measured: Double
    var tested: Double?

    var json: Json {
      .object([
        ("weight-bits", .double(weightBits)), ("activation-bits", .double(activationBits)),
        ("predicted", .double(predicted)), ("measured", .double(measured)),
        ("tested", tested.map { .double($0) } ?? .null),
      ])
    }
    var cells: [String] {
      [
        fixed(weightBits, 2), fixed(activationBits, 2), fixed(predicted, 2), fixed(measured, 2),
        tested.map { fixed($0, 2) } ?? "",
      ]
    }
  }
  /// Best first, or the front from the cheapest on.
  let entries: [Entry]
  /// Every width's best uniform sub-network, widest first.
  let uniform: [Entry]
  let quality: PredictionQuality?
  let pairs: Int

  var text: String {
    var table = Table(
      ["sub-network", "weight bits", "activation bits", "predicted %", "measured %", "test %"],
      right: [1, 2, 3, 4, 5])
    for (index, entry) in entries.enumerated() { table.add(["found \(index + 1)"] + entry.cells) }
    for entry in uniform { table.add(["uniform \(fixed(entry.weightBits, 0))"] + entry.cells) }
    return table.text + "\n" + predictorText
  }

  private var predictorText: String {
    guard let quality else { return "predictor: \(pairs) measured sub-networks" }
    return
      "predictor on a fifth of \(pairs) measured sub-networks: Pearson \(fixed(quality.pearson, 3)), Kendall \(fixed(quality.kendall, 3)), mean error \(fixed(quality.meanAbsoluteError, 2)) points"
  }

  var json: Json {
    .object([
      ("found", .array(entries.map(\.json))), ("uniform", .array(uniform.map(\.json))),
      ("pairs", .int(pairs)), ("pearson", quality.map { .double($0.pearson) } ?? .null),
      ("kendall", quality.map { .double($0.kendall) } ?? .null),
      ("spearman", quality.map { .double($0.spearman) } ?? .null),
      ("mean-absolute-error", quality.map { .double($0.meanAbsoluteError) } ?? .null),
    ])
  }

  /// The front as a table for spreadsheets.
  var csv: String {
    let rows = entries.map { entry in
      "\(entry.weightBits),\(entry.activationBits),\(entry.predicted),\(entry.measured),\(entry.tested.map { "\($0)" } ?? "")"
    }
    return (["weight-bits,activation-bits,predicted,measured,tested"] + rows).joined(separator: "\n") + "\n"
  }
  var chart: LineChart {
    LineChart(
      title: "A supernet's front", horizontal: "average weight bits",
      panels: [
        LineChart.Panel("top-1 of the front, measured", entries.map { ($0.weightBits, $0.measured) }),
        LineChart.Panel(
          "top-1 of uniform widths, measured", uniform.reversed().map { ($0.weightBits, $0.measured) }),
      ])
  }
}
