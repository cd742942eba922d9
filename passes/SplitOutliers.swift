import IR
import PassKit
import Support

package struct SplitOutliersOptions: PassOptions {
  package static let table: [Attribute<Self>] = [
    Attribute(
      "threshold", \.threshold,
      help: "kernels are split whose central tap is so many times as large as the largest other one"),
    Attribute(
      "per-channel", \.perChannel, help: "compare within each output channel and take the mean of the ratios"),
    Attribute("bits", \.bits, help: "width of the central taps that are split off"),
  ]
  package var threshold: Float = 4
  package var perChannel = false
  package var bits = 8
  package init() {}
}

/// Splits convolutions whose central taps dwarf all others, so that each part gets a step of its own.
///
///     %y = conv2d(%x, %w, %b){activation = relu}
///   ->
///     %f = conv2d(%x, %w - %c, %b)                    the neighbours, and what rounding the centre leaves
///     %c = conv2d(%x, %c)                             1x1: the centre, in multiples of its largest / (2^(bits - 1) - 1)
///     %y = add(%f, %c){activation = relu}
///
/// Coarse and fine weight splitting (arXiv 2312.10588), for kernels that sum up branches of 1x1 and 3x3 (RepVGG). For
/// odd kernels with padding of at least half of them, and constant weights. Exact but for the rounding of one sum. It
/// costs one tap more, and in integers both parts are rounded to their own activation step before they are added.
package let splitOutliers = Pass(
  "split-outliers", "split convolutions with outliers in their central tap into a coarse and a fine part",
  accepts: .canonical ... .canonical, options: SplitOutliersOptions.self
) { rewriter, _, options in
  guard options.threshold > 0, (2...8).contains(options.bits) else {
    throw CompilerError("split-outliers: threshold must be positive and bits 2 to 8", status: .usage)
  }
  for op in rewriter.ops {
    guard let kernel = CentralTap(op, rewriter.graph) else { continue }
    guard kernel.outlierRatio(perChannel: options.perChannel) > options.threshold else {
      rewriter.count("no outliers")
      continue
    }
    guard let conv = kernel.centralConvolution else {
      rewriter.count("kept: narrow padding")
      continue
    }
    guard rewriter.takeStep() else { return }
    let node = rewriter.graph[op], result = node.results[0]
    let statistics = rewriter.graph[result].statistics, activation = node.op.activation ?? .none
    let (coarse, fine) = kernel.split(bits: options.bits)
    let name = rewriter.graph[node.operands[1]].name
    let coarseWeights = rewriter.constant(
      Constant("\(name).coarse", Array(kernel.sizes[..<2]) + [1, 1], coarse))
    let fineWeights = rewriter.constant(Constant("\(name).fine", kernel.sizes, fine))
    let central = try rewriter.insert(
      .conv2d(conv), [node.operands[0], coarseWeights], name: "\(node.name).coarse", before: op)
    let rest = try rewriter.insert(
      node.op.with(activation: .none), [node.operands[0], fineWeights] + node.operands.dropFirst(2),
      name: "\(node.name).fine", before: op)
    var sum = Binary(.add)
    sum.activation = activation
    let sums = try rewriter.replace(op, with: .binary(sum), rest + central)
    rewriter.setStatistics(sums[0], statistics)
    rewriter.count("kernels split")
  }
}

/// The weights of a convolution with an odd kernel of more than one tap.
private struct CentralTap {
  let sizes: [Int]
  private let conv: Conv2D
  private let weights: [Float]
  private var area: Int { sizes[2] * sizes[3] }
  private var rowLength: Int { sizes[1] * area }

  init?(_ op: OpID, _ graph: Graph) {
    let node = graph[op]
    guard case .conv2d(let conv) = node.op, let sizes = graph.shape(node.operands[1]).sizes,
      let weights = graph.floats(node.operands[1]), sizes[2] % 2 == 1, sizes[3] % 2 == 1,
      sizes[2] * sizes[3] > 1
    else { return nil }
    self.conv = conv
    self.sizes = sizes
    self.weights = weights
  }

  private func isCentral(_ index: Int) -> Bool { index % area == area / 2 }

  /// The largest central tap over the largest other one; infinite for kernels that are nothing but their centre.
  func outlierRatio(perChannel: Bool) -> Float {
    let length = perChannel ? rowLength : weights.count
    guard length > 0 else { return 0 }
    var sum: Float = 0
    for start in stride(from: 0, to: weights.count, by: length) {
      var centre: Float = 0, rest: Float = 0
      for index in start..<start + length {
        if isCentral(index) {
          centre = max(centre, abs(weights[index]))
        } else {
          rest = max(rest, abs(weights[index]))
        }
      }
      sum += centre > 0 ? centre / rest : 0
    }
    return sum / Float(weights.count / length)
  }

  /// The 1x1 convolution that reads where the centre reads; nil where it would begin inside the image.
  var centralConvolution: Conv2D? {
    let margins = [0, 1].map { conv.dilations[$0] * (sizes[2 + $0] / 2) }
    var result = conv
    result.dilations = [1, 1]
    result.activation = .none
    result.pads = conv.pads.indices.map { conv.pads[$0] - margins[$0 % 2] }
    return result.pads.allSatisfy { $0 >= 0 } ? result : nil
  }

  /// The central taps rounded to multiples of one step per output channel, and all taps without them.
  func split(bits: Int) -> (coarse: [Float], fine: [Float]) {
    var coarse: [Float] = [], fine = weights
    let levels = Float((1 << (bits - 1)) - 1)
    for start in stride(from: 0, to: weights.count, by: rowLength) {
      let centres = (start..<start + rowLength).filter(isCentral)
      let step = centres.reduce(0) { max($0, abs(weights[$1])) } / levels
      for index in centres {
        let rounded = step.isNormal ? (weights[index] / step).rounded() * step : weights[index]
        coarse.append(rounded)
        fine[index] -= rounded
      }
    }
    return (coarse, fine)
  }
}
