import PassKit

/// Every pass, in the order in which a compilation meets them: the catalogue behind `qcc passes` and
/// pipelines.
package let allPasses: [Pass] = [
  // Float: from what the exporter wrote to few kinds of operations.
  foldConstants, canonicalize, generalizeBatch, foldBatchNorm, convolveAffine, fuseActivations,
  eliminateDeadCode,
  // Quantization: from float to one form per quantizer.
  equalize, absorbBias, splitOutliers, insertQuantizers, assign, search, distill, calibrate, gptq, adaRound,
  reconstruct, rescaleChannels, matchMoments, correctBias,
  // Training: normalizations stand apart while weights move.
  restoreBatchNorm, estimateBatchNorm,
  // Integers: from quantizers to a program.
  lowerInteger, chooseLayouts, packWeights, planMemory,
]
