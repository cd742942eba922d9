import COneDNN
import IR
import Synchronization

/// oneDNN primitives by operation and input shape, with their weights reordered once; shared by all threads.
package final class PrimitiveCache: Sendable {
  package init() {}

  struct Key: Hashable, Sendable {
    var operation: OpID
    var shape: [Int]
  }
  /// A prepared convolution and its weights if they are constant.
  struct Entry: Sendable {
    var layout: ConvolutionLayout
    /// Brings weights into the primitive's format.
    var reorder: OneDNNReorder
    /// The weights in that format if they are constant.
    var weights: TensorBuffer?
  }
  private let entries = Mutex<[Key: Entry]>([:])
  /// The unpacked weights of integer operations.
  private let integerWeights = Mutex<[OpID: [Int16]]>([:])

  func weights<E: Error>(_ operation: OpID, make: () throws(E) -> [Int16]) throws(E) -> [Int16] {
    if let weights = integerWeights.withLock({ $0[operation] }) { return weights }
    let weights = try make()
    integerWeights.withLock { $0[operation] = weights }
    return weights
  }

  func entry(_ key: Key, make: () throws(OneDNNError) -> Entry) throws(OneDNNError) -> Entry {
    if let entry = entries.withLock({ $0[key] }) { return entry }
    // Two threads may both prepare the same entry; both are the same.
    let entry = try make()
    entries.withLock { $0[key] = entry }
    return entry
  }
}

extension EvaluationContext {
  func convolution(
    _ step: Evaluator.Step, _ op: Conv2D, _ operands: inout [Tensor], _ result: Result
  ) throws -> Tensor {
    let w = operands[1].shape, groups = op.groups
    // Winograd's algorithm wants no groups, not even one.
    let triesWinograd =
      allowsWinograd && ConvolutionLayout.suitsWinograd(op, weights: w, result: result.shape)
    let weights =
      triesWinograd
      ? try OneDNN.descriptor(w, dnnl_oihw)
      : try OneDNN.descriptor([groups, w[0] / groups, w[1], w[2], w[3]], dnnl_goihw)
    return try run(step, &operands, result, weights, op.activation, triesWinograd) {
      algorithm, source, weights, bias, target, activation throws(OneDNNError) in
      var source = source, weights = weights, bias = bias, target = target
      let strides = op.strides.map { Int64($0) }, dilations = op.dilations.map { Int64($0 - 1) }
      let before = op.pads[..<2].map { Int64($0) }, after = op.pads[2...].map { Int64($0) }
      // For inference oneDNN would transform weights in the reorder, in scratch memory of one thread that others lack.
      let kind = algorithm == dnnl_convolution_winograd ? dnnl_forward_training : dnnl_forward_inference
      var descriptor = dnnl_convolution_desc_t()
      try OneDNN.check(
        dnnl_dilated_convolution_forward_desc_init(
          &descriptor, kind, algorithm, &source, &weights, &bias, &target, strides,
          dilations, before, after), "convolution_forward_desc_init")
      // Images of few channels and depthwise layers: up to 1.5 times as fast (oneDNN 2.6, AVX-512).
      return try OneDNNPrimitive(operation: &descriptor, activation: activation, prefersDirect: w[1] < 16)
    }
  }

  func transposedConvolution(
    _ step: Evaluator.Step, _ op: ConvTranspose2D, _ operands: inout [Tensor], _ result: Result
  ) throws -> Tensor {
    let w = operands[1].shape, groups = op.groups
    let area = w[2] * w[3], inputs = w[0] / groups
    // ONNX keeps [C, O / groups, kh, kw]; oneDNN sees it as [groups, O / groups, C / groups, kh, kw].
    let weights = try OneDNN.descriptor(
      [groups, w[1], inputs, w[2], w[3]], strides: [inputs * w[1] * area, area, w[1] * area, w[3], 1])
    return try run(step, &operands, result, weights, op.activation, false) {
      _, source, weights, bias, target, activation throws(OneDNNError) in
      var source = source, weights = weights, bias = bias, target = target
      let strides = op.strides.map { Int64($0) }, dilations = op.dilations.map { Int64($0 - 1) }
      let before = op.pads[..<2].map { Int64($0) }
      let after = [Int64(op.pads[2] - op.outputPads[0]), Int64(op.pads[3] - op.outputPads[1])]
      var descriptor = dnnl_deconvolution_desc_t()
      try OneDNN.check(
        dnnl_dilated_deconvolution_forward_desc_init(
          &descriptor, dnnl_forward_inference, dnnl_deconvolution_direct, &source, &weights, &bias, &target,
          strides,
          dilations, before, after), "deconvolution_forward_desc_init")
      return try OneDNNPrimitive(operation: &descriptor, activation: activation)
    }
  }

  private typealias Activated = (kind: dnnl_alg_kind_t, alpha: Float, beta: Float)

  /// Runs a (transposed) convolution, prepared on the first call for this shape.
  private func run(
    _ step: Evaluator.Step, _ operands: inout [Tensor], _ result: Result, _ weights: dnnl_memory_desc_t,
    _ activation: Activation, _ triesWinograd: Bool,
    _ prepare: (
      _ algorithm: dnnl_alg_kind_t, _ source: dnnl_memory_desc_t, _ weights: dnnl_memory_desc_t,
      _ bias: dnnl_memory_desc_t,
      _ target: dnnl_memory_desc_t, _ activation: Activated?
    ) throws(OneDNNError) -> OneDNNPrimitive
  ) throws(OneDNNError) -> Tensor {
    let shape = operands[0].shape, hasBias = operands.count > 2
    let weightTensor = operands[1].rowMajor(), stream = stream
    let activated: Activated? =
      switch activation {
      case .none: nil
      case .relu: (dnnl_eltwise_relu, 0, 0)
      case .clip(let minimum, let maximum): (dnnl_eltwise_clip, minimum, maximum)
      }
    func reordered(_ reorder: OneDNNReorder, _ pool: BufferPool?) throws(OneDNNError) -> TensorBuffer {
      let buffer = TensorBuffer(byteCount: reorder.targetBytes, pool: pool)
      try reorder.run(stream, weightTensor.rawPointer, buffer.base)
      return buffer
    }
    let entry = try primitives.entry(PrimitiveCache.Key(operation: step.id, shape: shape)) {
      () throws(OneDNNError) in
      // An empty descriptor stands for no bias.
      let bias = hasBias ? try OneDNN.descriptor([result.shape[1]], dnnl_a) : dnnl_memory_desc_t()
      let layout = try ConvolutionLayout.chosen(
        front: .init(DNNL_ARG_SRC_0, shape), behind: .init(DNNL_ARG_DST_0, result.shape, isWritten: true),
        triesWinograd: triesWinograd
      ) { algorithm, source, target throws(OneDNNError) in
        try prepare(algorithm, source, OneDNN.any(weights), bias, target, activated)
      }
      let wanted = layout.primitive.descriptor(DNNL_ARG_WEIGHTS_0)?.pointee ?? weights
      let reorder = try OneDNNReorder(from: weights, to: wanted)
      return PrimitiveCache.Entry(
        layout: layout, reorder: reorder, weights: step.isConstant[1] ? try reordered(reorder, nil) : nil)
    }
    let layout = entry.layout
    operands[0] = operands[0].ordered(layout.order, pool: pool)
    let output = make(result, order: layout.order)
    let weightBuffer: TensorBuffer
    if step.isConstant[1], let constant = entry.weights {
      weightBuffer = constant
    } else {
      weightBuffer = try reordered(entry.reorder, pool)
    }
    try withExtendedLifetime(weightBuffer) { () throws(OneDNNError) in
      var others: [(argument: Int32, memory: UnsafeMutableRawPointer)] = [
        (DNNL_ARG_WEIGHTS_0, weightBuffer.base)
      ]
      if hasBias { others.append((DNNL_ARG_BIAS, operands[2].rawPointer)) }
      try layout.run(
        stream, pool: pool, front: operands[0].rawPointer, behind: output.rawPointer, others)
    }
    return output
  }
}
