import KernelInterface

/// What 16 channels of a depthwise convolution are computed with, prepared when a program is loaded.
package struct DepthwisePanel {
  package let memory: UnsafeMutableRawPointer

  /// - Parameter weightBytes: of every panel.
  package init(_ prepared: UnsafeMutableRawPointer, _ index: Int, weightBytes: Int) {
    memory = prepared + index &* (192 &+ weightBytes)
  }

  @export(interface)
  package static func count(_ layer: DepthwiseLayer) -> Int { (layer.storedChannels &+ 15) / 16 }

  @export(interface)
  package static func preparedBytes(_ layer: DepthwiseLayer, weightBytes: Int) -> Int {
    count(layer) &* (192 &+ weightBytes)
  }

  package var bias: UnsafeMutablePointer<Int32> { memory.assumingMemoryBound(to: Int32.self) }
  private var factors: UnsafeMutablePointer<Int32> { bias + 16 }
  private var shifts: UnsafeMutablePointer<Int32> { bias + 32 }
  package var weights: UnsafeMutablePointer<Int8> { (memory + 192).assumingMemoryBound(to: Int8.self) }

  /// Writes bias and factors of all channels; those that do not exist give zero points.
  @export(interface)
  package func fill(_ layer: DepthwiseLayer, _ parameters: DepthwiseParameters, _ index: Int) {
    for i in 0..<16 {
      let channel = 16 &* index &+ i, exists = channel < layer.channels
      bias[i] = exists ? parameters.bias[channel] : 0
      shifts[i] = exists ? parameters.shift[channel] : 31
      if let scale = parameters.scale {
        factors[i] = exists ? Int32(bitPattern: scale[channel].bitPattern) : 0
      } else {
        factors[i] = exists ? parameters.multiplier[channel] : 0
      }
    }
  }

  @export(interface)
  package func output(_ layer: DepthwiseLayer) -> PanelOutput {
    PanelOutput(
      isFused: layer.isFused, factors: factors, shifts: shifts, zeroPoint: layer.outputZeroPoint,
      minimum: layer.clampMinimum, maximum: layer.clampMaximum)
  }
}
