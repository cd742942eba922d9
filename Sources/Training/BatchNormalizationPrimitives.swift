import COneDNN
import Evaluator
import IR

/// oneDNN's batch normalization of images by their own statistics.
extension ShardPass {
  func normalizeByOneDNN(
    _ op: BatchNorm, _ x: Tensor, _ scale: [Float], _ bias: [Float]
  ) throws(OneDNNError) -> (tensor: Tensor, moments: ChannelMoments) {
    let primitive = try primitive(op, x, isBackward: false), channels = scale.count
    let result = Tensor(x.shape, .f32, order: x.order, pool: pool)
    let parameters = Tensor([2, channels], scale + bias)
    let means = Tensor([channels], .f32), variances = Tensor([channels], .f32)
    let scratch = Tensor([(primitive.scratchBytes + 3) / 4], .f32, pool: pool)
    defer { keepAlive(x, parameters, scratch) }
    try primitive.run(
      context.stream,
      [
        (DNNL_ARG_SRC_0, x.rawPointer), (DNNL_ARG_DST_0, result.rawPointer),
        (DNNL_ARG_WEIGHTS_0, parameters.rawPointer), (DNNL_ARG_MEAN, means.rawPointer),
        (DNNL_ARG_VARIANCE, variances.rawPointer), (DNNL_ARG_SCRATCHPAD, scratch.rawPointer),
      ])
    let moments = ChannelMoments(
      means: means.floats.map { Double($0) }, variances: variances.floats.map { Double($0) })
    return (result, moments)
  }

  /// - Parameter gradient: in the memory order of `x`.
  func differentiateByOneDNN(
    _ op: BatchNorm, _ x: Tensor, _ gradient: Tensor, _ scale: [Float], _ moments: ChannelMoments
  ) throws(OneDNNError) -> (x: Tensor, scale: Tensor, bias: Tensor) {
    let primitive = try primitive(op, x, isBackward: true), channels = scale.count
    let result = Tensor(x.shape, .f32, order: x.order, pool: pool)
    let parameters = Tensor([2, channels], scale + scale), slopes = Tensor([2, channels], .f32)
    let means = Tensor([channels], moments.means.map { Float($0) })
    let variances = Tensor([channels], moments.variances.map { Float($0) })
    let scratch = Tensor([(primitive.scratchBytes + 3) / 4], .f32, pool: pool)
    defer { keepAlive(x, gradient, parameters, means, variances, scratch) }
    try primitive.run(
      context.stream,
      [
        (DNNL_ARG_SRC_0, x.rawPointer), (DNNL_ARG_DIFF_DST_0, gradient.rawPointer),
        (DNNL_ARG_DIFF_SRC_0, result.rawPointer), (DNNL_ARG_WEIGHTS_0, parameters.rawPointer),
        (DNNL_ARG_DIFF_WEIGHTS_0, slopes.rawPointer), (DNNL_ARG_MEAN, means.rawPointer),
        (DNNL_ARG_VARIANCE, variances.rawPointer), (DNNL_ARG_SCRATCHPAD, scratch.rawPointer),
      ])
    let sums = slopes.floats
    return (
      result, Tensor([channels], Array(sums[..<channels])), Tensor([channels], Array(sums[channels...]))
    )
  }

  private func primitive(
    _ op: BatchNorm, _ x: Tensor, isBackward: Bool
  ) throws(OneDNNError) -> OneDNNPrimitive {
    let key = GradientPrimitives.NormalizationKey(
      shape: x.shape, isChannelsLast: x.order == .channelsLast, epsilon: op.epsilon, isBackward: isBackward)
    return try plan.gradientPrimitives.normalization(key) { () throws(OneDNNError) in
      var data = try OneDNN.descriptor(x.shape, x.order == .channelsLast ? dnnl_nhwc : dnnl_nchw)
      var gradient = data, descriptor = dnnl_batch_normalization_desc_t()
      let flags = dnnl_use_scaleshift.rawValue
      if isBackward {
        try OneDNN.check(
          dnnl_batch_normalization_backward_desc_init(
            &descriptor, dnnl_backward, &gradient, &data, op.epsilon, flags),
          "batch_normalization_backward_desc_init")
      } else {
        try OneDNN.check(
          dnnl_batch_normalization_forward_desc_init(
            &descriptor, dnnl_forward_training, &data, op.epsilon, flags),
          "batch_normalization_forward_desc_init")
      }
      return try OneDNNPrimitive(operation: &descriptor)
    }
  }
}
