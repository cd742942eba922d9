import COneDNN
import Evaluator
import IR
import Synchronization

/// oneDNN primitives of backward passes by operation and input shape; shared by all threads.
final class GradientPrimitives: Sendable {
  struct Key: Hashable, Sendable {
    var operation: OpID
    var shape: [Int]
    var isOfWeights: Bool
  }
  struct Entry: Sendable {
    var layout: ConvolutionLayout
    /// Brings weights into the primitive's format, or their gradient out of it.
    var reorder: OneDNNReorder
  }
  struct NormalizationKey: Hashable, Sendable {
    var shape: [Int]
    var isChannelsLast: Bool
    var epsilon: Float
    var isBackward: Bool
  }
  private let entries = Mutex<[Key: Entry]>([:])
  private let normalizations = Mutex<[NormalizationKey: OneDNNPrimitive]>([:])

  func entry(_ key: Key, make: () throws(OneDNNError) -> Entry) throws(OneDNNError) -> Entry {
    if let entry = entries.withLock({ $0[key] }) { return entry }
    // Two threads may both prepare the same entry; both are the same.
    let entry = try make()
    entries.withLock { $0[key] = entry }
    return entry
  }

  func normalization(
    _ key: NormalizationKey, make: () throws(OneDNNError) -> OneDNNPrimitive
  ) throws(OneDNNError) -> OneDNNPrimitive {
    if let primitive = normalizations.withLock({ $0[key] }) { return primitive }
    let primitive = try make()
    normalizations.withLock { $0[key] = primitive }
    return primitive
  }
}

/// The descriptors of a backward convolution: activations in front, weights, activations behind.
private typealias Prepare = (
  _ algorithm: dnnl_alg_kind_t, _ source: dnnl_memory_desc_t, _ weights: dnnl_memory_desc_t,
  _ target: dnnl_memory_desc_t
) throws(OneDNNError) -> OneDNNPrimitive

extension ShardPass {
  func convolution(_ op: Conv2D, _ call: Call, _ gradient: Tensor) throws(OneDNNError) -> [Tensor?] {
    let w = call.shapes[1], groups = op.groups
    // Winograd's algorithm wants no groups, not even one.
    let triesWinograd = ConvolutionLayout.suitsWinograd(op, weights: w, result: call.resultShapes[0])
    let weights =
      triesWinograd
      ? try OneDNN.descriptor(w, dnnl_oihw)
      : try OneDNN.descriptor([groups, w[0] / groups, w[1], w[2], w[3]], dnnl_goihw)
    let strides = op.strides.map { Int64($0) }, dilations = op.dilations.map { Int64($0 - 1) }
    let before = op.pads[..<2].map { Int64($0) }, after = op.pads[2...].map { Int64($0) }
    return try gradients(call, gradient, weights, triesWinograd) {
      algorithm, source, weights, target throws(OneDNNError) in
      var source = source, weights = weights, target = target
      var descriptor = dnnl_convolution_desc_t()
      try OneDNN.check(
        dnnl_dilated_convolution_backward_data_desc_init(
          &descriptor, algorithm, &source, &weights, &target, strides, dilations, before, after),
        "convolution_backward_data_desc_init")
      return try OneDNNPrimitive(operation: &descriptor)
    } ofWeights: { algorithm, source, weights, target throws(OneDNNError) in
      var source = source, weights = weights, target = target
      var descriptor = dnnl_convolution_desc_t()
      try OneDNN.check(
        dnnl_dilated_convolution_backward_weights_desc_init(
          &descriptor, algorithm, &source, &weights, nil, &target, strides, dilations, before,
          after), "convolution_backward_weights_desc_init")
      return try OneDNNPrimitive(operation: &descriptor)
    }
  }

  func transposedConvolution(
    _ op: ConvTranspose2D, _ call: Call, _ gradient: Tensor
  ) throws(OneDNNError) -> [Tensor?] {
    let w = call.shapes[1], groups = op.groups, area = w[2] * w[3], inputs = w[0] / groups
    // As in the evaluator: ONNX keeps [C, O / groups, kh, kw].
    let weights = try OneDNN.descriptor(
      [groups, w[1], inputs, w[2], w[3]], strides: [inputs * w[1] * area, area, w[1] * area, w[3], 1])
    let strides = op.strides.map { Int64($0) }, dilations = op.dilations.map { Int64($0 - 1) }
    let before = op.pads[..<2].map { Int64($0) }
    let after = [Int64(op.pads[2] - op.outputPads[0]), Int64(op.pads[3] - op.outputPads[1])]
    return try gradients(call, gradient, weights, false) { _, source, weights, target throws(OneDNNError) in
      var source = source, weights = weights, target = target
      var descriptor = dnnl_deconvolution_desc_t()
      try OneDNN.check(
        dnnl_dilated_deconvolution_backward_data_desc_init(
          &descriptor, dnnl_deconvolution_direct, &source, &weights, &target, strides, dilations, before,
          after), "deconvolution_backward_data_desc_init")
      return try OneDNNPrimitive(operation: &descriptor)
    } ofWeights: { _, source, weights, target throws(OneDNNError) in
      var source = source, weights = weights, target = target
      var descriptor = dnnl_deconvolution_desc_t()
      try OneDNN.check(
        dnnl_dilated_deconvolution_backward_weights_desc_init(
          &descriptor, dnnl_deconvolution_direct, &source, &weights, nil, &target, strides, dilations, before,
          after), "deconvolution_backward_weights_desc_init")
      return try OneDNNPrimitive(operation: &descriptor)
    }
  }

  /// The gradients of input, weights and bias.
  private func gradients(
    _ call: Call, _ gradient: Tensor, _ weights: dnnl_memory_desc_t, _ triesWinograd: Bool, ofInput: Prepare,
    ofWeights: Prepare
  ) throws(OneDNNError) -> [Tensor?] {
    var results = [Tensor?](repeating: nil, count: call.shapes.count)
    if call.needs(0) {
      let entry = try entry(call, weights, triesWinograd, isOfWeights: false, ofInput)
      results[0] = try inputGradient(call, gradient, entry)
    }
    if call.needs(1) {
      let entry = try entry(call, weights, false, isOfWeights: true, ofWeights)
      results[1] = try weightGradient(call, gradient, entry)
    }
    if call.needs(2) {
      results[2] = Tensor(call.shapes[2], channelSums(gradient).map { Float($0) })
    }
    return results
  }

  private func entry(
    _ call: Call, _ weights: dnnl_memory_desc_t, _ triesWinograd: Bool, isOfWeights: Bool, _ prepare: Prepare
  ) throws(OneDNNError) -> GradientPrimitives.Entry {
    let key = GradientPrimitives.Key(
      operation: call.step.step.id, shape: call.shapes[0], isOfWeights: isOfWeights)
    return try plan.gradientPrimitives.entry(key) { () throws(OneDNNError) in
      let layout = try ConvolutionLayout.chosen(
        front: isOfWeights
          ? .init(DNNL_ARG_SRC_0, call.shapes[0])
          : .init(DNNL_ARG_DIFF_SRC_0, call.shapes[0], isWritten: true),
        behind: .init(DNNL_ARG_DIFF_DST_0, call.resultShapes[0]), triesWinograd: triesWinograd
      ) { algorithm, front, behind throws(OneDNNError) in
        try prepare(algorithm, front, OneDNN.any(weights), behind)
      }
      let argument = isOfWeights ? DNNL_ARG_DIFF_WEIGHTS_0 : DNNL_ARG_WEIGHTS_0
      let wanted = layout.primitive.descriptor(argument)?.pointee ?? weights
      let reorder =
        isOfWeights
        ? try OneDNNReorder(from: wanted, to: weights) : try OneDNNReorder(from: weights, to: wanted)
      return GradientPrimitives.Entry(layout: layout, reorder: reorder)
    }
  }

  private func inputGradient(
    _ call: Call, _ gradient: Tensor, _ entry: GradientPrimitives.Entry
  ) throws(OneDNNError) -> Tensor {
    let order = entry.layout.order, target = gradient.ordered(order, pool: pool)
    let weights = call.operand(1).rowMajor()
    let result = Tensor(call.shapes[0], .f32, order: order, pool: pool)
    let reordered = scratch(entry.reorder.targetBytes)
    defer { keepAlive(weights, target, reordered) }
    try entry.reorder.run(context.stream, weights.rawPointer, reordered.rawPointer)
    try entry.layout.run(
      context.stream, pool: pool, front: result.rawPointer, behind: target.rawPointer,
      [(DNNL_ARG_WEIGHTS_0, reordered.rawPointer)])
    return result
  }

  private func weightGradient(
    _ call: Call, _ gradient: Tensor, _ entry: GradientPrimitives.Entry
  ) throws(OneDNNError) -> Tensor {
    let order = entry.layout.order, source = call.operand(0).ordered(order, pool: pool)
    let target = gradient.ordered(order, pool: pool)
    let result = Tensor(call.shapes[1], .f32, pool: pool)
    let ordered = scratch(entry.reorder.sourceBytes)
    defer { keepAlive(source, target, ordered) }
    try entry.layout.run(
      context.stream, pool: pool, front: source.rawPointer, behind: target.rawPointer,
      [(DNNL_ARG_DIFF_WEIGHTS_0, ordered.rawPointer)])
    try entry.reorder.run(context.stream, ordered.rawPointer, result.rawPointer)
    return result
  }

  private func scratch(_ bytes: Int) -> Tensor { Tensor([(bytes + 3) / 4], .f32, pool: pool) }
}
