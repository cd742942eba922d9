import Evaluator
import IR
import Numerics
import PassKit
import Passes
import Support
import Testing

@testable import Explain

/// Each cause on values and networks that were made to have it.
@Suite("Causes")
struct CauseTests {
  private static let form = QuantizationForm(.bits(4), .tensor, .asymmetric)

  /// About normal, with deviation 1.
  private func normal(_ count: Int, _ seed: UInt64 = 1) -> [Float] {
    var random = SeededRandom(seed: seed, stream: 3)
    return (0..<count).map { _ in Float((0..<12).reduce(-6.0) { sum, _ in sum + random.unit() }) }
  }
  private func parameters(_ low: Float, _ high: Float) -> AffineParameters {
    AffineParameters(covering: low, high, form: CauseTests.form, role: .activation)
  }
  private func cause(
    _ values: [Float], _ p: AffineParameters, channels: [(values: [Float], low: Float, high: Float)] = [],
    local: Double = 15, cumulative: Double = 15
  ) throws -> Cause {
    let network = SampleNetwork(), float = try network.graph()
    let pair = try QuantizedNetwork(quantized(float, network.data), original: float)
    let site = try #require(pair.sites.first { $0.name == "a" })
    return Cause(
      Remedies(
        [ScaledGroup(values: values, parameters: p)], channels: channels, CauseTests.form, .activation),
      CauseContext(site: site, local: local, cumulative: cumulative, isSilent: false))
  }

  @Test func levels() throws {
    let found = try cause(normal(8000), parameters(-3, 3))
    #expect(found.kind == .levels)
    #expect(found.hint.contains("--pin 'a=a8'"))
  }
  @Test func outlier() throws {
    let found = try cause(normal(8000) + [40, -35], parameters(-35, 40))
    #expect(found.kind == .outlier)
    #expect(found.number > 15, "\(found)")
    #expect(found.evidence.contains("stretch the range"))
  }
  @Test func clippedTail() throws {
    let found = try cause(normal(8000), parameters(-0.6, 0.6))
    #expect(found.kind == .clipped)
    #expect(found.evidence.contains("% of values are clipped"))
  }
  @Test func channelSpread() throws {
    let large = normal(500), small = (1..<16).map { normal(500, UInt64($0 + 1)).map { $0 / 8 } }
    let channels = ([large] + small).map { ($0, $0.min() ?? 0, $0.max() ?? 0) }
    // Small channels round to 0, all of them together lose more than the large one.
    let found = try cause(Array(([large] + small).joined()), parameters(-3.5, 3.5), channels: channels)
    #expect(found.kind == .channelSpread, "\(found)")
    #expect(found.evidence.contains("the median channel fills 1"), "\(found)")
  }
  /// Channels too small to matter to the error here may matter to what follows.
  @Test func channelSpreadAtTheOutputs() {
    let large = normal(500), small = normal(500, 2).map { $0 / 50 }
    var remedies = Remedies(
      [ScaledGroup(values: large + small, parameters: parameters(-3.5, 3.5))],
      channels: [large, small].map { ($0, $0.min() ?? 0, $0.max() ?? 0) }, CauseTests.form, .activation)
    #expect(remedies.perChannel < Cause.leastGain)
    remedies.atOutputs(Energies(signal: 1, noise: 0.1), byChannel: Energies(signal: 1, noise: 0.01))
    #expect(abs(remedies.perChannel - 10) < 1e-9)
  }
  @Test func fineAndInherited() throws {
    #expect(try cause(normal(100), parameters(-3, 3), local: 35, cumulative: 33).kind == .none)
    let found = try cause(normal(100), parameters(-3, 3), local: 38, cumulative: 12)
    #expect(found.kind == .inherited)
    #expect(found.number == 26)
  }

  /// A cause as networks have it, of the weights of one layer.
  private func cause(
    _ network: SampleNetwork, of name: String, change: (inout Graph) -> Void = { _ in }
  ) throws -> Cause {
    let float = try network.graph()
    var graph = try quantized(float, network.data)
    change(&graph)
    let report = try explain(
      QuantizedNetwork(graph, original: float), network.data, samples: 8, PassContext(threads: 1))
    return try #require(report.sites.first { $0.site.name == name }).cause
  }

  @Test func biasOverflow() throws {
    let found = try cause(SampleNetwork(), of: "b.weight") { graph in
      for id in graph.order where graph[id].name == "b" {
        graph.setOperand(id, 2, to: graph.addConstant(Constant("huge", [4], [0, 0, 1e9, 0])))
      }
    }
    #expect(found.kind == .bias)
    #expect(found.number > 1)
    #expect(found.evidence.contains("the bias of channel 2"), "\(found)")
  }
  /// Weights far too small for their bias: calibrate raises their scale until the bias fits.
  @Test func raisedScales() throws {
    var network = SampleNetwork()
    network.weights[1] = network.weights[1].map { $0.map { $0 * 1e-9 } }
    let found = try cause(network, of: "b.weight")
    #expect(found.kind == .bias)
    #expect(found.evidence.contains("scales of 4 channels were raised"), "\(found)")
  }
  @Test func deadLayer() throws {
    var network = SampleNetwork()
    network.weights[1] = network.weights[1].map { $0.map { _ in 0 } }
    network.biases[1] = [0, 0, 0, 0]
    #expect(try cause(network, of: "b.weight").kind == .dead)
  }
  @Test func depthwise() throws {
    var random = SeededRandom(seed: 4, stream: 1)
    var graph = Graph(name: "net", stage: .canonical)
    let x = graph.addInput("x", TensorType(Shape([.batch, .known(8), .known(6), .known(6)]), .f32))
    var conv = Conv2D()
    conv.groups = 8
    conv.pads = [1, 1, 1, 1]
    let w = graph.addConstant(Constant("w", [8, 1, 3, 3], (0..<72).map { _ in Float(random.unit() - 0.5) }))
    let b = graph.addConstant(Constant("b", [8], [Float](repeating: 0.1, count: 8)))
    let id = try graph.append(.conv2d(conv), [x, w, b], name: "dw")
    graph.addOutput(graph[id].results[0])
    let data = Samples(values: (0..<8).map { _ in (0..<288).map { _ in Float(random.unit() - 0.5) } })
    let report = try explain(
      QuantizedNetwork(quantized(graph, data), original: graph), data, samples: 8, PassContext(threads: 1))
    let found = try #require(report.sites.first { $0.site.role == .weight }).cause
    #expect(found.kind == .depthwise)
    #expect(found.number == 9)
  }
}
