import Evaluator
import IR
import PassKit
import Support
import Training

package struct EstimateBatchNormOptions: PassOptions {
  package static let table: [Attribute<Self>] = [
    Attribute("samples", \.samples, help: "calibration samples to average over"),
    Attribute("batch", \.batch, help: "samples whose statistics are taken together"),
  ]
  package var samples = 2048
  package var batch = 128
  package init() {}
}

/// Measures the means and variances of batch normalizations anew, behind the quantizers in force.
///
///     batch-norm(%y, γ, β, μ, σ²)   ->   batch-norm(%y, γ, β, μ', σ'²)
///
/// Each normalization sees what those before it, by statistics of their own batch, make of the calibration samples; batches
/// count alike. Sub-networks of a supernet share all weights but need statistics of their own (Yu and Huang, arXiv
/// 1903.05134; EQ-Net, arXiv 2308.07650). Networks whose normalizations are folded have `match-moments` for it.
package let estimateBatchNorm = Pass(
  "estimate-batch-norm", "measure the means and variances of batch normalizations anew",
  accepts: .canonical ... .assigned, options: EstimateBatchNormOptions.self
) { rewriter, context, options in
  guard options.samples > 0, options.batch > 0 else {
    throw CompilerError("estimate-batch-norm: samples and batch must be positive", status: .usage)
  }
  let graph = rewriter.graph
  let isPresent = graph.order.contains { if case .batchNorm = graph[$0].op { true } else { false } }
  guard isPresent, graph.inputs.count == 1 else { return rewriter.count("left alone") }
  guard let data = context.calibration, data.count > 0 else {
    return rewriter.count("skipped for want of data")
  }
  guard rewriter.takeStep() else { return }
  let inputs = try SampleBank(data, graph, samples: min(options.samples, data.count))
  let plan = try GradientPlan(
    graph, gradientsOf: [], batchNormalization: .batch, shardSize: max(options.batch / 2, 1),
    threads: context.threads)
  var estimate = BatchNormEstimate()
  for first in stride(from: 0, to: inputs.count, by: options.batch) {
    let samples = Array(first..<min(first + options.batch, inputs.count))
    estimate.add(try plan.statistics([inputs.batch(samples)]), samples: samples.count)
    context.progress("estimating batch normalization", first + samples.count, inputs.count)
  }
  let values = estimate.values(in: graph)
  for id in estimate.operations {
    for operand in [3, 4] {
      let value = graph[id].operands[operand]
      guard let tensor = values[value] else { continue }
      let constant = Constant(graph[value].name, tensor.shape, tensor.floats)
      rewriter.setOperand(id, operand, to: rewriter.constant(constant))
    }
    rewriter.count("estimated")
  }
}
