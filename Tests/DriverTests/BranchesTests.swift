import Foundation
import TestSupport
import Testing

/// Networks whose images are added, joined and cut: what lies within other tensors, replaces operands or has borders
/// keeps the reference's bits, and so do instructions that run together.
@Suite("Branches")
struct BranchesTests {
  /// A random network as text.
  private struct Network {
    private struct Image {
      var name: String
      var channels: Int
    }
    private static let size = 7
    private var random: SeededGenerator
    private var lines: [String] = []
    private var images: [Image] = []
    private var count = 0

    init(seed: UInt64) {
      random = SeededGenerator(state: seed)
      images = [Image(name: "%x", channels: 4)]
      convolve()
      for _ in 0..<Int.random(in: 4...9, using: &random) { grow() }
    }

    /// The last images joined, so that little is dead.
    var text: String {
      var network = self
      network.join(Array(network.images.suffix(3)))
      let last = network.images[network.images.count - 1]
      let lines = (network.lines + ["return \(last.name)"]).map { "  \($0)\n" }.joined()
      return "qir 1\ngraph @net stage imported (%x: \(Self.type(4))) {\n\(lines)}\n"
    }

    private static func type(_ channels: Int) -> String { "tensor<Nx\(channels)x\(size)x\(size)xf32>" }

    private mutating func append(_ operation: String, _ channels: Int, attributes: String = "") {
      count += 1
      lines.append("%v\(count) = \(operation)\(attributes) : \(Self.type(channels))")
      images.append(Image(name: "%v\(count)", channels: channels))
    }

    /// Mostly a late one.
    private mutating func pick() -> Image {
      let first = Int.random(in: 0...2, using: &random) == 0 ? 0 : max(images.count - 2, 0)
      return images[Int.random(in: first..<images.count, using: &random)]
    }

    private mutating func convolve(from image: Image? = nil, channels: Int? = nil) {
      let image = image ?? pick(), radius = Int.random(in: 0...1, using: &random)
      let isDepthwise =
        radius == 1 && (channels ?? image.channels) == image.channels && Bool.random(using: &random)
      let outputs =
        isDepthwise ? image.channels : channels ?? [4, 6, 8, 12][Int.random(in: 0..<4, using: &random)]
      let inputs = isDepthwise ? 1 : image.channels, kernel = 2 * radius + 1
      let numbers = (0..<outputs * inputs * kernel * kernel).map { _ in
        "\(Float.random(in: -1...1, using: &random) / Float(inputs * kernel))"
      }
      let weights = "%w\(count)"
      lines.append(
        "\(weights) = constant dense [\(numbers.joined(separator: ", "))] : tensor<\(outputs)x\(inputs)x\(kernel)x\(kernel)xf32>"
      )
      append(
        "conv2d(\(image.name), \(weights))", outputs,
        attributes:
          " {pads = [\(radius), \(radius), \(radius), \(radius)], groups = \(isDepthwise ? image.channels : 1)}"
      )
    }

    private mutating func join(_ parts: [Image]) {
      append(
        "concat(\(parts.map(\.name).joined(separator: ", ")))", parts.reduce(0) { $0 + $1.channels },
        attributes: " {axis = 1}")
    }

    private mutating func grow() {
      let image = pick()
      switch Int.random(in: 0...9, using: &random) {
      case 0...2: convolve()
      case 3...4:
        convolve(from: image, channels: image.channels)
        append("add(\(image.name), \(images[images.count - 1].name))", image.channels)
      case 5:
        if let other = images.dropLast().last(where: {
          $0.channels == image.channels && $0.name != image.name
        }) {
          append("add(\(image.name), \(other.name))", image.channels)
        }
      case 6: append("hard-swish(\(image.name))", image.channels)
      case 7:
        append(
          "max-pool(\(image.name))", image.channels,
          attributes: " {kernel = [3, 3], strides = [1, 1], pads = [1, 1, 1, 1]}")
      case 8:
        let start = [0, 2, 4][Int.random(in: 0...2, using: &random)] % image.channels
        append(
          "slice(\(image.name))", image.channels - start,
          attributes: " {starts = [\(start)], ends = [\(image.channels)], axes = [1], steps = [1]}")
      default: join([image, pick()])
      }
    }
  }

  @Test(arguments: UInt64(0)..<24) func keepTheBitsOfTheReference(seed: UInt64) throws {
    let text = Network(seed: seed).text
    try withTemporaryFolder { folder in
      let model = "\(folder)/net.qir", program = "\(folder)/net.qpk", graph = "\(folder)/lowered.qir"
      let inputs = "\(folder)/x.npy"
      try text.write(toFile: model, atomically: true, encoding: .utf8)
      try QCC.expectSuccess([model, "--target", "x86-int8", "-o", program, "--save-graph", graph])
      try QCC.expectSuccess([
        "verify", program, "--graph", graph, "--samples", "1", "--save-inputs", inputs,
      ])
      // That was one instruction at a time. Together, and shared by threads, they give the same answers.
      try QCC.expectSuccess(["run", graph, "--input", inputs, "--output", "\(folder)/reference.npy"])
      let expected = try Data(contentsOf: URL(filePath: "\(folder)/reference.npy"))
      for threads in ["1", "3"] {
        let outputs = "\(folder)/\(threads).npy"
        try QCC.expectSuccess(["run", program, "--input", inputs, "--output", outputs, "--threads", threads])
        #expect(try Data(contentsOf: URL(filePath: outputs)) == expected, "\(threads) threads: \(text)")
      }
    }
  }
}
