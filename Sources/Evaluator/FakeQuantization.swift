import IR
import Numerics

extension EvaluationContext {
  /// Rounds to the levels of the current form. An uncalibrated quantizer, and any in float mode, passes its operand on.
  func fakeQuantize(_ op: Quantize, _ operands: inout [Tensor]) -> Tensor {
    guard mode == .quantized, operands.count > 1 else { return operands[0] }
    let role = op.role.numerics, form = op.form, axis = op.axis
    let scales = operands[1 + 2 * op.forms.currentIndex].pointer(Float.self)
    let zeroPoints = operands[2 + 2 * op.forms.currentIndex].pointer(Int32.self)
    func parameters(_ index: Int) -> AffineParameters {
      AffineParameters(scale: scales[index], zeroPoint: zeroPoints[index])
    }

    if form.granularity == .tensor {
      let y = overwrite(&operands), x = operands[0]
      form.fakeQuantize(x.pointer(), y.pointer(), x.count, parameters(0), role)
      return y
    }
    if axis != 0 { operands[0] = moved(operands[0], axis, to: 0) }
    operands[0] = operands[0].ordered(.rowMajor, pool: pool)
    let y = overwrite(&operands), x = operands[0], channels = x.shape[0]
    let length = channels > 0 ? x.count / channels : 0
    let group: Int
    if case .group(let size) = form.granularity {
      group = min(size, max(length, 1))
    } else {
      group = max(length, 1)
    }
    var index = 0
    for channel in 0..<channels {
      for start in stride(from: 0, to: length, by: group) {
        let offset = channel * length + start
        form.fakeQuantize(
          x.pointer() + offset, y.pointer() + offset, min(group, length - start), parameters(index), role)
        index += 1
      }
    }
    return axis == 0 ? y : moved(y, 0, to: axis)
  }

  /// A row-major copy with axis `from` moved to position `to`, the others in order.
  private func moved(_ x: Tensor, _ from: Int, to: Int) -> Tensor {
    var permutation = Array(x.shape.indices)
    permutation.insert(permutation.remove(at: from), at: to)
    let y = Tensor(permutation.map { x.shape[$0] }, x.element, pool: pool)
    copyStrided(
      y.shape, size: x.element.sizeInBytes, from: x.rawPointer, permutation.map { x.strides[$0] },
      to: y.rawPointer, y.strides)
    return y
  }
}
