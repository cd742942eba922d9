import Evaluator
import Foundation
import IR
import Numerics
import PassKit
import Passes
import Support
import Testing

@testable import Explain

/// Signal to noise of every site against a scalar network that knows nothing of graphs and evaluators.
@Suite("Sites")
struct SiteReportTests {
  /// Runs a sample with the given sites rounding; every value by name.
  private func reference(
    _ network: SampleNetwork, _ graph: Graph, _ sample: [Float], active: (String) -> Bool
  ) throws -> [String: [Double]] {
    var parameters: [String: ([AffineParameters], ClosedRange<Int32>)] = [:]
    for id in graph.order {
      guard case .quantize(let quantizer) = graph[id].op else { continue }
      parameters[quantizer.site] = (
        try #require(graph.parameters(of: graph[id], quantizer)), quantizer.storedRange
      )
    }
    func rounded(_ values: [Double], _ site: String, perChannel: Int? = nil) -> [Double] {
      guard active(site), let (own, range) = parameters[site] else { return values }
      return values.enumerated().map { index, value in
        let p = own[own.count == 1 ? 0 : index / (perChannel ?? 1)]
        let stored = (value / Double(p.scale)).rounded(.toNearestOrEven) + Double(p.zeroPoint)
        return Double(p.scale)
          * (min(max(stored, Double(range.lowerBound)), Double(range.upperBound)) - Double(p.zeroPoint))
      }
    }
    var values: [String: [Double]] = [:]
    var x = rounded(sample.map { Double($0) }, "x")
    values["x"] = x
    func layer(_ index: Int, _ name: String, pixels: Int) {
      let rows = network.weights[index], inputs = rows[0].count
      let weights = rounded(rows.joined().map { Double($0) }, "\(name).weight", perChannel: inputs)
      values["\(name).weight"] = weights
      var y: [Double] = []
      for output in rows.indices {
        for pixel in 0..<pixels {
          var sum = Double(network.biases[index][output])
          for input in 0..<inputs { sum += weights[output * inputs + input] * x[input * pixels + pixel] }
          y.append(name == "a" ? max(sum, 0) : sum)
        }
      }
      values["\(name) before"] = y
      x = rounded(y, name)
      values[name] = x
    }
    layer(0, "a", pixels: 4)
    layer(1, "b", pixels: 4)
    x = (0..<4).map { channel in x[4 * channel..<4 * channel + 4].reduce(0, +) / 4 }
    x = rounded(x, "pool")
    values["pool"] = x
    layer(2, "c", pixels: 1)
    return values
  }

  @Test(arguments: [8, 4, 2]) func agreesWithScalarReference(bits: Int) throws {
    let network = SampleNetwork(seed: UInt64(bits)), float = try network.graph()
    let graph = try quantized(float, network.data, bits: bits)
    let report = try explain(
      QuantizedNetwork(graph, original: float), network.data, samples: 24, PassContext(threads: 2))
    #expect(report.samples == 24)
    let sites = report.sites.map(\.site.name)
    #expect(sites.sorted() == ["a", "a.weight", "b", "b.weight", "c.weight", "pool", "x"])
    for row in report.sites {
      let site = row.site.name, isWeight = site.hasSuffix(".weight")
      let layer = isWeight ? String(site.dropLast(7)) : site
      let place = isWeight ? "\(layer) before" : layer
      var local = Energies(), cumulative = Energies(), output = Energies(), weights = Energies()
      for sample in network.samples {
        let none = try reference(network, graph, sample) { _ in false }
        let alone = try reference(network, graph, sample) { $0 == site }
        let all = try reference(network, graph, sample) { _ in true }
        func add(_ sum: inout Energies, _ a: [Double]?, _ b: [Double]?) throws {
          for (x, y) in zip(try #require(a), try #require(b)) {
            sum += Energies(signal: x * x, noise: (x - y) * (x - y))
          }
        }
        try add(&local, none[place], alone[place])
        try add(&cumulative, none[place], all[place])
        try add(&output, none["c before"], alone["c before"])
        if isWeight { try add(&weights, none[site], all[site]) }
      }
      #expect(abs(row.local.decibels - local.decibels) < 0.05, "\(site): local")
      #expect(abs(row.cumulative.decibels - cumulative.decibels) < 0.3, "\(site): cumulative")
      #expect(abs(row.output.decibels - output.decibels) < 0.05, "\(site): output")
      #expect((row.weights != nil) == isWeight)
      if let own = row.weights { #expect(abs(own.decibels - weights.decibels) < 0.01, "\(site): weights") }
    }
  }

  @Test func threadsDoNotMatter() throws {
    let network = SampleNetwork(samples: 40), float = try network.graph()
    let pair = try QuantizedNetwork(quantized(float, network.data), original: float)
    let reports = try [1, 2].map {
      try explain(pair, network.data, samples: 40, PassContext(threads: $0))
    }
    for (a, b) in zip(reports[0].sites, reports[1].sites) {
      #expect(
        a.local == b.local && a.cumulative == b.cumulative && a.output == b.output && a.cause == b.cause)
    }
  }

  /// With all quantizers on the network is the quantized one, with none the float one, whatever GPTQ and bias correction
  /// did to weights and biases.
  @Test func switchesQuantizers() throws {
    let network = SampleNetwork(), float = try network.graph()
    let graph = try quantized(float, network.data, then: "gptq, correct-bias")
    let pair = try QuantizedNetwork(graph, original: float)
    let batch = Tensor([24, 3, 2, 2], Array(network.samples.joined()))
    func answers(_ graph: Graph) throws -> [Float] {
      try Evaluator(graph, mode: .quantized, threads: 1).run([batch])[0].floats
    }
    #expect(try answers(pair.graph(active: Set(pair.sites.indices))) == answers(graph))
    #expect(try answers(pair.graph(active: [])) == answers(float))
    #expect(try answers(graph) != answers(float))
  }

  /// Weights that were scaled before they were rounded, as equalization does.
  @Test func noticesOtherWeights() throws {
    let network = SampleNetwork(), float = try network.graph()
    var scaled = network
    scaled.weights[1] = scaled.weights[1].map { $0.map { $0 * 3 } }
    let same = try QuantizedNetwork(quantized(float, network.data), original: float)
    #expect(same.rewriteWarning == nil)
    let other = try QuantizedNetwork(quantized(scaled.graph(), network.data), original: float)
    #expect(other.rewrittenLayers == ["b"])
    #expect(other.rewriteWarning?.description.contains("canonical, equalize") == true)
  }

  @Test func refusesWhatDoesNotFit() throws {
    let network = SampleNetwork(), float = try network.graph()
    #expect(throws: CompilerError.self) { try QuantizedNetwork(float, original: nil) }
    let graph = try quantized(float, network.data)
    var renamed = float
    renamed.rename(
      try #require(renamed.definingOp(of: renamed.outputs[0]).map { renamed[$0].results[0] }), "d")
    let error = #expect(throws: CompilerError.self) { try QuantizedNetwork(graph, original: renamed) }
    #expect(error?.description.contains("no layer 'c' with weights of shape") == true)
    #expect(error?.description.contains("--against takes the float network") == true)
  }
}
