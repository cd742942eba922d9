import IR
import Support
import Training

/// Everything that goes on from one step to the next, in a `.safetensors` file: parameters, optimizers, running means and
/// variances, the step. Random choices follow from the seed and the step, so that a resumed run gives the same bits as one
/// that was never stopped.
package struct Checkpoint: Sendable {
  /// What the run was made with; a checkpoint fits only a run of the same.
  package let fingerprint: String
  private static let version = 2

  package init(fingerprint: String) { self.fingerprint = fingerprint }

  /// Writes the file whole or not at all.
  package func save(_ run: TrainingRun, to path: String) throws(CompilerError) {
    var constants: [Constant] = []
    for (index, parameter) in run.network.parameters.enumerated() {
      let (arrays, updates) = parameter.optimizer.state
      constants.append(Constant("\(index).position", [parameter.position.count], parameter.position))
      for (number, array) in arrays.enumerated() {
        constants.append(Constant("\(index).optimizer.\(number)", [array.count], array))
      }
      constants.append(Constant("\(index).updates", [1], [Int64(updates)]))
    }
    for value in run.network.running.keys.sorted() {
      let floats = run.network.running[value] ?? []
      constants.append(Constant("running.\(value.index)", [floats.count], floats))
    }
    for (index, sums) in run.average.sums.enumerated() {
      constants.append(Constant("\(index).sums", [sums.count], sums.map { Int64(bitPattern: $0.bitPattern) }))
    }
    constants.append(Constant("averaged", [1], [Int64(run.average.count)]))
    let loss = run.averageLoss ?? .nan
    constants.append(
      Constant(
        "state", [3], [Int64(Checkpoint.version), Int64(run.step), Int64(bitPattern: loss.bitPattern)]))
    let text = Array(fingerprint.utf8)
    constants.append(Constant("made-with", [text.count], text))
    try SafetensorsFile.write(constants, to: path)
  }

  /// Puts a run into the state that a file holds.
  /// - Throws: when the file is damaged, or is of a run with other options, another model or other data.
  package func restore(_ run: inout TrainingRun, from file: SafetensorsFile) throws(CompilerError) {
    let path = file.path
    func constant(_ name: String, _ count: Int, _ element: ElementType) throws(CompilerError) -> Constant {
      let type = TensorType(Shape([count]), element)
      guard let storage = try file.storage(name, type) else {
        throw .malformed("the checkpoint lacks '\(name)'", at: path)
      }
      return Constant(name: name, type: type, storage: storage)
    }
    func floats(_ name: String, _ count: Int) throws(CompilerError) -> [Float] {
      try constant(name, count, .f32).floats
    }
    let length = file.shape(of: "made-with")?.first ?? 0
    let bytes = try constant("made-with", length, .u8).elements(as: UInt8.self)
    let madeWith = String(decoding: bytes, as: UTF8.self)
    guard madeWith == fingerprint else {
      throw CompilerError(
        "the checkpoint is of another run", at: path,
        notes: ["it was made with: \(madeWith)", "this run: \(fingerprint)"], status: .usage)
    }
    let state = try constant("state", 3, .i64).elements(as: Int64.self)
    guard state[0] == Checkpoint.version, state[1] >= 0 else {
      throw .malformed(
        "the checkpoint has version \(state[0]), this qcc reads \(Checkpoint.version)", at: path)
    }
    var network = run.network
    for index in network.parameters.indices {
      let count = network.parameters[index].position.count
      network.parameters[index].position = try floats("\(index).position", count)
      let arrays = network.parameters[index].optimizer.state.arrays.count
      var restored: [[Float]] = []
      for number in 0..<arrays { restored.append(try floats("\(index).optimizer.\(number)", count)) }
      let updates = try constant("\(index).updates", 1, .i64).elements(as: Int64.self)[0]
      network.parameters[index].optimizer.restore(restored, updates: Int(updates))
    }
    let averaged = try constant("averaged", 1, .i64).elements(as: Int64.self)[0]
    var sums: [[Double]] = []
    for index in network.parameters.indices where averaged > 0 {
      let patterns = try constant("\(index).sums", network.parameters[index].position.count, .i64)
      sums.append(patterns.elements(as: Int64.self).map { Double(bitPattern: UInt64(bitPattern: $0)) })
    }
    for value in network.running.keys.sorted() {
      network.running[value] = try floats("running.\(value.index)", network.running[value]?.count ?? 0)
    }
    let loss = Double(bitPattern: UInt64(bitPattern: state[2]))
    run.restore(
      network, step: Int(state[1]), averageLoss: loss.isNaN ? nil : loss,
      WeightAverage(sums: sums, count: Int(max(averaged, 0))))
  }
}
