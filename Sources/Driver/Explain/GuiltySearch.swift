import Datasets
import Evaluator
import Explain
import Glibc
import IR
import PassKit
import Passes
import Support

/// When a set of quantizers fails.
enum SubsetGate {
  /// Points lost of top-1, or of agreement where there are no labels.
  case drop(Double)
  /// Signal to noise of the answers, in decibels.
  case signalToNoise(Double)
}

/// How the network answers with some quantizers on.
struct SubsetQuality {
  /// In percent; nil without labels.
  var top1: Double?
  var agreement: Double
  var energies: Energies
}

/// The smallest guilty set of quantizers, by delta debugging over them.
struct GuiltySearch {
  private let network: QuantizedNetwork
  private let gate: SubsetGate
  private let context: PassContext
  /// Batches of samples with their labels.
  private var inputs: [Tensor] = []
  private var labels: [Int?] = []
  private var floatAnswers: [[Float]] = []
  private var ranking: [SiteReport] = []
  /// Of all quantizers together.
  private var all: SubsetQuality?
  private var float: SubsetQuality?
  private var known: [[Int]: SubsetQuality] = [:]
  /// Failing sets that are disjoint, each of what the ones before leave: none when all quantizers together hold. Of an
  /// interrupted search the last is the smallest so far.
  private var guilty: [[Int]] = []
  private(set) var isComplete = false

  init(_ network: QuantizedNetwork, _ source: SampleSource, _ gate: SubsetGate, _ context: PassContext) throws
  {
    self.network = network
    self.gate = gate
    self.context = context
    let shape = network.quantized[network.quantized.inputs[0]].type.shape.bound(batch: 1).dropFirst()
    let loader = source.loader(threads: context.threads)
    while let batch = try loader.next(64) {
      for sample in batch.inputs where sample.count != shape.reduce(1, *) {
        throw CompilerError("a sample has \(sample.count) values; the network takes \(Array(shape))")
      }
      inputs.append(Tensor([batch.count] + shape, Array(batch.inputs.joined())))
      labels += batch.labels
    }
    for warning in loader.unreadable { Console.report(warning) }
    guard !labels.isEmpty else { throw CompilerError("there are no samples", status: .usage) }
    ranking = try explain(network, source, samples: 32, context).sites
  }

  /// - Parameter goesOn: looks for more sets among the others until these hold.
  /// - Throws: `interrupted` when the user asked to stop; what was found is kept.
  mutating func run(goesOn: Bool) throws {
    floatAnswers = try answers([])
    float = quality(floatAnswers)
    // The worst first: tests of prefixes then meet the guilty early.
    let order = ranking.sorted {
      ($0.output.decibels, $0.site.index) < ($1.output.decibels, $1.site.index)
    }.map(\.site.index)
    all = try measure(order)
    var rest = order
    while try !rest.isEmpty && fails(measure(rest)) {
      var best = rest
      defer { guilty.append(best) }
      best = try minimalFailingSubset(of: rest, found: { best = $0 }) { try fails(measure($0)) }
      rest.removeAll { best.contains($0) }
      if !goesOn {
        _ = try measure(rest)
        break
      }
    }
    isComplete = true
  }

  private func fails(_ quality: SubsetQuality) -> Bool {
    switch gate {
    // A hair for binary fractions of percent.
    case .drop(let points): drop(quality) > points + 1e-9
    case .signalToNoise(let least): !(quality.energies.decibels >= least)
    }
  }
  private func drop(_ quality: SubsetQuality) -> Double {
    guard let top1 = quality.top1, let before = float?.top1 else { return 100 - quality.agreement }
    return before - top1
  }

  private mutating func measure(_ set: [Int]) throws -> SubsetQuality {
    let key = set.sorted()
    if let quality = known[key] { return quality }
    let quality = quality(try answers(Set(key)))
    known[key] = quality
    context.progress("trying sets of quantizers", known.count, max(known.count + 1, 4 * network.sites.count))
    return quality
  }

  private func answers(_ active: Set<Int>) throws -> [[Float]] {
    let evaluator = try Evaluator(
      try network.graph(active: active), mode: .quantized, threads: context.threads)
    var rows: [[Float]] = []
    for batch in inputs {
      if context.isInterrupted() { throw CompilerError("interrupted", status: .interrupted) }
      let values = try evaluator.run([batch])[0].floats, count = batch.shape[0], width = values.count / count
      rows += (0..<count).map { Array(values[$0 * width..<($0 + 1) * width]) }
    }
    return rows
  }

  private func quality(_ answers: [[Float]]) -> SubsetQuality {
    var same = 0, correct = 0, labelled = 0, energies = Energies()
    for (index, answer) in answers.enumerated() {
      let best = argmax(answer)
      if best == argmax(floatAnswers[index]) { same += 1 }
      if let label = labels[index] {
        labelled += 1
        if label == best { correct += 1 }
      }
      for (x, y) in zip(floatAnswers[index], answer) {
        energies += Energies(signal: Double(x) * Double(x), noise: Double(x - y) * Double(x - y))
      }
    }
    func percent(_ count: Int) -> Double { 100 * Double(count) / Double(max(answers.count, 1)) }
    return SubsetQuality(
      top1: labelled == answers.count ? percent(correct) : nil, agreement: percent(same), energies: energies)
  }

  // MARK: Reporting

  private func describe(_ quality: SubsetQuality) -> String {
    let sound =
      "\(decibelText(quality.energies.decibels)) dB, same answer on \(fixed(quality.agreement, 2)) %"
    guard let top1 = quality.top1 else { return sound }
    return "top-1 \(fixed(top1, 2)) % (\(fixed(-drop(quality), 2))), \(sound)"
  }
  /// What a set that fails does, and one that holds.
  private var gateTexts: (fails: String, holds: String) {
    switch gate {
    case .drop(let points):
      let amount = "\(fixed(points, 2)) points of \(float?.top1 == nil ? "the same answers" : "top-1")"
      return ("loses more than \(amount)", "they lose at most \(amount)")
    case .signalToNoise(let least):
      return ("has less than \(fixed(least, 1)) dB", "they have at least \(fixed(least, 1)) dB")
    }
  }

  var text: String {
    var lines: [String] = []
    if let float, let top1 = float.top1 {
      lines.append("\(labels.count) samples: float network top-1 \(fixed(top1, 2)) %")
    } else {
      lines.append("\(labels.count) samples")
    }
    guard let all else { return lines.joined(separator: "\n") }
    lines.append("all \(network.sites.count) quantizers: \(describe(all))")
    guard !guilty.isEmpty else {
      return (lines + ["\(gateTexts.holds): nobody is guilty"]).joined(separator: "\n")
    }
    for (index, set) in guilty.enumerated() {
      let isSmallest = isComplete || index + 1 < guilty.count
      let title = index == 0 ? "smallest set" : "of the others, the next"
      let quality = known[set.sorted()].map { ": these alone give \(describe($0))" } ?? ""
      lines += ["", "\(title)\(isSmallest ? "" : " so far") that \(gateTexts.fails)\(quality)"]
      var table = Table(["  site", "form", "alone dB", "cause"], right: [2])
      for row in rows(set) {
        let evidence = row.cause.evidence
        table.add([
          "  \(row.site.name)", row.site.width, decibelText(row.output.decibels),
          row.cause.kind.rawValue + (evidence.isEmpty ? "" : ": \(evidence)"),
        ])
      }
      lines.append(table.text)
    }
    lines.append("")
    if let rest = restQuality {
      let more = fails(rest) ? "; --all looks for the guilty among them" : ""
      lines.append("without \(guilty.count == 1 ? "it" : "them") the others give \(describe(rest))\(more)")
    }
    lines.append("\(known.count) sets of quantizers were tried")
    lines += ["", "What to do:"] + hintLines(guilty.flatMap(rows))
    return lines.joined(separator: "\n")
  }

  /// The guilty in the order of the network.
  private func rows(_ guilty: [Int]) -> [SiteReport] { guilty.sorted().map { ranking[$0] } }

  /// What is left when the guilty are off, once the search is complete.
  private var restQuality: SubsetQuality? {
    let off = Set(guilty.joined())
    return known[network.sites.map(\.index).filter { !off.contains($0) }]
  }

  var json: Json {
    func describe(_ quality: SubsetQuality?) -> Json {
      quality.map {
        .object([
          ("top1", $0.top1.map { .double($0) } ?? .null), ("agreement", .double($0.agreement)),
          ("sqnr-db", .double($0.energies.decibels)),
        ])
      } ?? .null
    }
    return .object([
      ("samples", .int(labels.count)), ("complete", .bool(isComplete)), ("float", describe(float)),
      ("all", describe(all)), ("tried", .int(known.count)), ("others", describe(restQuality)),
      (
        "guilty",
        .array(
          guilty.map { set in
            .object([
              ("quality", describe(known[set.sorted()])),
              (
                "sites",
                .array(
                  rows(set).map {
                    .object([
                      ("site", .string($0.site.name)), ("form", .string($0.site.width)),
                      ("output-db", .double($0.output.decibels)), ("cause", .string($0.cause.kind.rawValue)),
                      ("evidence", .string($0.cause.evidence)), ("hint", .string($0.cause.hint)),
                    ])
                  })
              ),
            ])
          })
      ),
    ])
  }
}
