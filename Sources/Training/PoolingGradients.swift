import Evaluator
import IR

extension ShardPass {
  /// The first of a window's largest elements takes its gradient, as in the forward pass.
  func maximumPool(_ op: MaxPool, _ call: Call, _ gradient: Tensor) -> Tensor {
    let x = call.operand(0).ordered(.channelsLast, pool: pool)
    let y = call.keptResult.ordered(.channelsLast, pool: pool)
    let gradient = gradient.ordered(.channelsLast, pool: pool)
    let result = zeros(call.shapes[0], order: .channelsLast), channels = x.shape[1]
    let source = x.pointer(Float.self), largest = y.pointer(Float.self), g = gradient.pointer(Float.self)
    let target = result.pointer(Float.self)
    defer { keepAlive(x, y, gradient) }
    // What is left of a window's gradients, to be taken by the first element that equals the result.
    var rest = [Float](repeating: 0, count: channels)
    rest.withUnsafeMutableBufferPointer { rest in
      context.forEachWindow(op.window, x, y) { output, inputs in
        // Eight channels at a time; the compiler cannot tell that these pointers never meet.
        typealias Lanes = SIMD8<Float>
        for first in stride(from: 0, to: channels & ~7, by: 8) {
          var rest = UnsafeRawPointer(g + output + first).loadUnaligned(as: Lanes.self)
          let result = UnsafeRawPointer(largest + output + first).loadUnaligned(as: Lanes.self)
          for input in inputs {
            let place = UnsafeMutableRawPointer(target + input + first)
            let isLargest =
              UnsafeRawPointer(source + input + first).loadUnaligned(as: Lanes.self) .== result
            let sum = place.loadUnaligned(as: Lanes.self) + Lanes.zero.replacing(with: rest, where: isLargest)
            place.storeBytes(of: sum, as: Lanes.self)
            rest.replace(with: 0, where: isLargest)
          }
        }
        let left = channels & ~7..<channels
        for channel in left { rest[channel] = g[output &+ channel] }
        for input in inputs {
          for channel in left {
            let isLargest = source[input &+ channel] == largest[output &+ channel]
            target[input &+ channel] += isLargest ? rest[channel] : 0
            rest[channel] = isLargest ? 0 : rest[channel]
          }
        }
      }
    }
    return result
  }

  func averagePool(_ op: AveragePool, _ call: Call, _ gradient: Tensor) -> Tensor {
    let gradient = gradient.ordered(.channelsLast, pool: pool)
    let result = zeros(call.shapes[0], order: .channelsLast), channels = result.shape[1]
    let g = gradient.pointer(Float.self), target = result.pointer(Float.self)
    defer { keepAlive(gradient) }
    let rows = context.paddedCounts(op.window, 0, result.shape[2], gradient.shape[2])
    let columns = context.paddedCounts(op.window, 1, result.shape[3], gradient.shape[3])
    var position = 0
    context.forEachWindow(op.window, result, gradient) { output, inputs in
      let padded = rows[position / columns.count % rows.count] * columns[position % columns.count]
      let factor = 1 / Float(max(op.countPads ? padded : inputs.count, 1))
      for input in inputs {
        for channel in 0..<channels { target[input &+ channel] += g[output &+ channel] * factor }
      }
      position += 1
    }
    return result
  }

  func globalAveragePool(_ call: Call, _ gradient: Tensor) -> Tensor {
    let shape = call.shapes[0], area = shape[2...].reduce(1, *)
    return repeated(scaled(gradient, by: 1 / Float(max(area, 1))), to: shape)
  }

  /// `gradient` repeated along its axes of extent 1 to fill `shape`; channels last where the rank is 4.
  func repeated(_ gradient: Tensor, to shape: [Int]) -> Tensor {
    let result = Tensor(shape, .f32, order: .channelsLast, pool: pool)
    copyStrided(
      shape, size: 4, from: gradient.rawPointer, context.broadcastStrides(gradient, shape),
      to: result.rawPointer, result.strides)
    keepAlive(gradient)
    return result
  }
}
