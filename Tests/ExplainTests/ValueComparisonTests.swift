import Evaluator
import IR
import PassKit
import Passes
import Support
import Testing

@testable import Explain

@Suite("Values by name")
struct ValueComparisonTests {
  @Test func lowered() throws {
    let network = SampleNetwork(), float = try network.graph()
    let lowered = try quantized(float, network.data, bits: 8, then: "correct-bias, lower-integer")
    let own = try ValueTracer(lowered, mode: .quantized), reference = try ValueTracer(float, mode: .float)
    var comparison = ValueComparison(reference: float), stored = ValueComparison(reference: float)
    for sample in network.samples {
      let values = Dictionary(
        uniqueKeysWithValues: try reference.values(sample).map { ($0.name, $0.values) })
      let found = try own.values(sample)
      comparison.add(found, reference: values)
      // Another scale and zero point, as stored integers have them: the fit undoes both.
      stored.add(
        found.map { NamedValue($0.name, $0.values.map { 3 * $0 + 7 }, isStored: true) }, reference: values)
    }
    let reports = comparison.reports
    #expect(reports.map(\.otherName).contains("a") && reports.map(\.otherName).contains("c"))
    for report in reports where report.name != "x" {
      #expect(report.energies.decibels > 25, "\(report.name)")
      #expect(report.energies.decibels < 80, "\(report.name)")
    }
    for (a, b) in zip(reports, stored.reports) where a.name != "x" {
      #expect(a.name == b.name && b.isFitted)
      // The best scale is at least as good as the true one.
      #expect(b.energies.decibels > a.energies.decibels - 0.01, "\(a.name)")
      #expect(b.energies.decibels < a.energies.decibels + 6, "\(a.name)")
    }
  }

  @Test func nothingInCommon() throws {
    var comparison = ValueComparison(reference: try SampleNetwork().graph())
    comparison.add([NamedValue("other", [1, 2], isStored: false)], reference: ["a": [1, 2], "b": [1]])
    #expect(comparison.reports.isEmpty)
    #expect(comparison.unmatched == 1)
  }
}
