/// The factor r of rounded weights ŵ with the least error of the outputs, Σ (w - r ŵ) H (w - r ŵ): <w, H ŵ> / <ŵ, H ŵ>, over
/// one or more output channels (the closed form of UDFC, arXiv 2308.07209, for quantization alone).
///
/// H is the covariance of the inputs. With variances alone, taken as independent, r would shrink every layer: errors of
/// rounding then look like noise that a smaller scale dampens, while the shrinking adds up from layer to layer.
struct ScaleFit {
  private var product = 0.0
  private var square = 0.0

  /// Adds one output channel.
  mutating func add(_ exact: ArraySlice<Float>, _ rounded: ArraySlice<Float>, _ covariance: [Float]) {
    let length = rounded.count
    for i in 0..<length {
      var sum: Float = 0
      for j in 0..<length { sum += covariance[i * length + j] * rounded[rounded.startIndex + j] }
      product += Double(exact[exact.startIndex + i] * sum)
      square += Double(rounded[rounded.startIndex + i] * sum)
    }
  }

  /// Nil where nothing was rounded to other than zero, or the fit is no small correction.
  var ratio: Double? {
    let ratio = product / square
    return square > 0 && (0.75...1.33).contains(ratio) ? ratio : nil
  }
}
