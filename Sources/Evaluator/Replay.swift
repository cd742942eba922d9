import IR
import Numerics
import Support

/// Every value of one run over some samples, kept so that parts of the network can run again with something changed.
package struct Trace: Sendable {
  package let samples: Int
  let slots: [Tensor?]

  /// The tensor of a value that the run computed or was given.
  package subscript(value: ValueID) -> Tensor? { slots[value.index] }
}

/// What is different when a traced run is repeated.
package struct Change: Sendable {
  /// Other contents of constants, of the same shape.
  package var constants: [ValueID: Tensor] = [:]
  /// Activation quantizers that round, per tensor, although the evaluator passes values on.
  package var roundings: [OpID: Rounding] = [:]
  /// Calibrated quantizers that round to their current form, whatever its granularity, although the evaluator passes
  /// values on.
  package var quantizers: Set<OpID> = []
  /// Other results of operations, of the same shape, in place of what these would compute.
  package var results: [ValueID: Tensor] = [:]

  package struct Rounding: Sendable {
    package var form: QuantizationForm
    package var parameters: AffineParameters

    package init(form: QuantizationForm, parameters: AffineParameters) {
      self.form = form
      self.parameters = parameters
    }
  }
  package init() {}
}

extension Evaluator {
  /// Runs all samples of `inputs` as one chunk on the calling thread and keeps every value.
  package func trace(_ inputs: [Tensor]) throws(CompilerError) -> Trace {
    let samples = inputs.first?.shape.first ?? 1
    let context = try EvaluationContext(batch: samples, mode: mode, pool: pool, primitives: primitives)
    var slots = constants
    for (value, tensor) in zip(graph.inputs, inputs) { slots[value.index] = tensor }
    for step in steps {
      var operands = try self.operands(of: step, slots)
      for (value, tensor) in zip(step.results, try context.evaluate(step, &operands)) {
        slots[value.index] = tensor
      }
    }
    return Trace(samples: samples, slots: slots)
  }

  /// Repeats a traced run with a change, on the calling thread: only what depends on the change is computed.
  /// - Returns: the tensors of `wanted`; those of the trace where the change does not reach.
  package func replay(
    _ trace: Trace, _ change: Change, wanted: [ValueID]
  ) throws(CompilerError) -> [Tensor] {
    let context = try EvaluationContext(batch: trace.samples, mode: mode, pool: pool, primitives: primitives)
    let rounding = try EvaluationContext(
      batch: trace.samples, mode: .quantized, pool: pool, primitives: primitives)
    var slots = trace.slots, found: [ValueID: Tensor] = [:], missing = Set(wanted)
    var isChanged = [Bool](repeating: false, count: slots.count)
    for (value, tensor) in change.constants {
      slots[value.index] = tensor
      isChanged[value.index] = true
    }
    for step in steps {
      if missing.isEmpty { break }
      let other = change.roundings[step.id], rounds = change.quantizers.contains(step.id)
      let replaced = step.results.first.flatMap { change.results[$0] }
      guard
        other != nil || rounds || replaced != nil || step.operands.contains(where: { isChanged[$0.index] })
      else { continue }
      var step = step
      for (index, operand) in step.operands.enumerated() where change.constants[operand] != nil {
        step.isConstant[index] = false  // what was prepared from the old contents does not hold
      }
      var operands = try self.operands(of: step, slots)
      for (value, isLast) in zip(step.operands, step.isLastUse) where isLast && isChanged[value.index] {
        slots[value.index] = nil
      }
      let results =
        if let replaced { [replaced] } else if let other { [operands[0].rounded(other, pool)] } else {
          try (rounds ? rounding : context).evaluate(step, &operands)
        }
      for (value, tensor) in zip(step.results, results) {
        slots[value.index] = tensor
        isChanged[value.index] = true
        if missing.remove(value) != nil { found[value] = tensor }
      }
    }
    return try wanted.map { value throws(CompilerError) in
      guard let tensor = found[value] ?? trace[value] else {
        throw CompilerError("'\(graph[value].name)' was not traced", status: .internalError)
      }
      return tensor
    }
  }

  /// The contents of a value that does not depend on any input, if some operation reads it.
  package func constantContents(_ value: ValueID) -> Tensor? { constants[value.index] }

  private func operands(of step: Step, _ slots: [Tensor?]) throws(CompilerError) -> [Tensor] {
    try step.operands.map { value throws(CompilerError) in
      guard let tensor = slots[value.index] else {
        throw CompilerError(
          "the operand '\(graph[value].name)' has no value", at: "node '\(step.name)'", status: .internalError
        )
      }
      return tensor
    }
  }
}

extension Tensor {
  /// The elements rounded to the levels of a form for activations, in the same memory order.
  fileprivate func rounded(_ rounding: Change.Rounding, _ pool: BufferPool) -> Tensor {
    let result = Tensor(shape, element, order: order, pool: pool)
    rounding.form.fakeQuantize(pointer(), result.pointer(), count, rounding.parameters, .activation)
    return result
  }

  /// Σ x² of this tensor and Σ (x - y)² towards another of the same shape.
  /// - Requires: both are f32.
  package func energies(against other: Tensor) -> (signal: Double, noise: Double) {
    precondition(shape == other.shape && element == .f32 && other.element == .f32)
    if order != other.order { return rowMajor().energies(against: other.rowMajor()) }
    return withUnorderedFloats { x in
      other.withUnorderedFloats { y in
        // Blocks short enough that sums in 32 bits keep their precision.
        var signal = 0.0, noise = 0.0
        for start in stride(from: 0, to: x.count, by: 256) {
          var signals = SIMD8<Float>(), noises = SIMD8<Float>(), index = start
          let end = min(start + 256, x.count)
          while index + 8 <= end {
            let base = UnsafeRawPointer(x.baseAddress! + index)  // not empty, as index < count
            let a = base.loadUnaligned(as: SIMD8<Float>.self)
            let b = UnsafeRawPointer(y.baseAddress! + index).loadUnaligned(as: SIMD8<Float>.self)
            signals += a * a
            noises += (a - b) * (a - b)
            index += 8
          }
          for rest in index..<end {
            signal += Double(x[rest]) * Double(x[rest])
            noise += Double(x[rest] - y[rest]) * Double(x[rest] - y[rest])
          }
          signal += Double(signals.sum())
          noise += Double(noises.sum())
        }
        return (signal, noise)
      }
    }
  }
}
