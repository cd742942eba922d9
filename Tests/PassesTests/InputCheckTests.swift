import Evaluator
import IR
import PassKit
import Support
import Testing

@testable import Passes

/// Inputs that contradict what batch normalization recorded behind the first convolution.
@Suite("Input check")
struct InputCheckTests {
  private struct Samples: CalibrationData {
    let values: [[Float]]
    var count: Int { values.count }
    func sample(_ index: Int) throws -> [Float] { values[index] }
  }

  /// Pixels 0…255 of three channels.
  private let pixels = Samples(
    values: (0..<12).map { index in
      var random = SeededGenerator(UInt64(index))
      return random.floats(75, 0...255)
    })
  private func normalized(scale: Float, mean: Float) -> Samples {
    Samples(values: pixels.values.map { $0.map { $0 * scale - mean } })
  }

  /// A convolution with a fused activation whose statistics are those that `data` gives, taken by hand.
  private func network(recordedOn data: Samples, statistics: Bool = true) throws -> Graph {
    var random = SeededGenerator(9)
    var graph = Graph(name: "net", stage: .canonical)
    let x = graph.addInput("x", TensorType(Shape([.batch, .known(3), .known(5), .known(5)]), .f32))
    let weights = random.floats(24, -1...1), biases = random.floats(8, -1...1)
    var conv = Conv2D()
    conv.activation = .relu
    let w = graph.addConstant(Constant("w", [8, 3, 1, 1], weights)),
      b = graph.addConstant(Constant("b", [8], biases))
    let id = try graph.append(.conv2d(conv), [x, w, b], name: "conv")
    graph.addOutput(graph[id].results[0])
    guard statistics else { return graph }
    var means: [Float] = [], deviations: [Float] = []
    for channel in 0..<8 {
      var values: [Double] = []
      for sample in data.values {
        for pixel in 0..<25 {
          values.append(
            (0..<3).reduce(Double(biases[channel])) {
              $0 + Double(weights[3 * channel + $1]) * Double(sample[25 * $1 + pixel])
            })
        }
      }
      let mean = values.reduce(0, +) / Double(values.count)
      means.append(Float(mean))
      deviations.append(
        Float((values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count)).squareRoot()))
    }
    graph.setStatistics(graph[id].results[0], ChannelStatistics(means: means, deviations: deviations))
    return graph
  }
  private func check(_ graph: Graph, _ data: Samples) throws -> InputCheck? {
    try InputCheck(graph, data, PassContext(threads: 2))
  }

  @Test func rightInputs() throws {
    let data = normalized(scale: 1 / 64, mean: 2)
    let found = try #require(try check(try network(recordedOn: data), data))
    #expect(abs(found.ratio - 1) < 0.01)
    #expect(found.shift < 0.01)
    #expect(found.diagnostic == nil)
    // Raw pixels are right for a network that was trained on them.
    #expect(try check(try network(recordedOn: pixels), pixels)?.diagnostic == nil)
  }
  @Test func rawPixels() throws {
    let found = try #require(try check(try network(recordedOn: normalized(scale: 1 / 64, mean: 2)), pixels))
    #expect(abs(found.ratio - 64) < 1)
    let message = try #require(found.diagnostic).description
    for part in [
      "about 64", "times too large", "'conv'", "recorded", "scale, mean and std", "--preprocess", "to 25",
    ] {
      #expect(message.contains(part), "\(message)")
    }
  }
  @Test func scaledTwice() throws {
    let found = try check(try network(recordedOn: pixels), normalized(scale: 1 / 255, mean: 0))
    #expect(try #require(found?.diagnostic).description.contains("times too small"))
  }
  @Test func shifted() throws {
    let right = normalized(scale: 1 / 8, mean: 16)
    let found = try check(try network(recordedOn: right), normalized(scale: 1 / 8, mean: 160))
    #expect(try #require(found?.diagnostic).description.contains("values are shifted"))
  }
  @Test func nothingRecorded() throws {
    #expect(try check(try network(recordedOn: pixels, statistics: false), pixels) == nil)
  }

  /// Calibration warns once, however often it runs.
  @Test func calibrationWarns() throws {
    var context = PassContext(threads: 1)
    context.calibration = pixels
    let graph = try network(recordedOn: normalized(scale: 1 / 64, mean: 2))
      .applying(insertQuantizers, [("target", "generic-int8")], &context).applying(calibrate, [], &context)
    _ = try graph.applying(calibrate, [], &context)
    #expect(context.diagnostics.count { $0.message.contains("do not look as the network expects") } == 1)
  }
}
