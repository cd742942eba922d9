import IR
import Numerics
import Program
import Support
import Yams

/// How long layers take on a target, and how it stores activations: a YAML file under `passes/costs`, or one that
/// `qcc search --measure-costs` wrote.
package struct CostTable: Sendable {
  /// Nanoseconds of a layer = fixed + operations / gops; a multiply-accumulate is two operations.
  package struct Rate: Hashable, Sendable {
    package var gops: Double
    package var fixed: Double
  }
  package var name: String
  package var processor: String
  /// By kind of kernel.
  package var rates: [Instruction.Convolution.Kind: Rate] = [:]
  /// Of layers with one output pixel, which are bound by reading their weights.
  package var productRates: [Instruction.Convolution.Kind: Rate] = [:]
  /// Nanoseconds of layers that were measured as they are, by shape (`qcc kernels --shape`) and kind.
  package var shapes: [String: [Instruction.Convolution.Kind: Double]] = [:]
  /// Whether activations take as many bits as they have; else bytes.
  package var packsActivations = false

  private static let kinds: [(name: String, kind: Instruction.Convolution.Kind)] = [
    ("dense8", .dense8), ("dense4", .dense4), ("dense2", .dense2), ("palette", .palette),
    ("depthwise", .depthwise), ("binary", .binary), ("ternary", .ternary),
  ]
  package static func name(of kind: Instruction.Convolution.Kind) -> String {
    kinds.first { $0.kind == kind }?.name ?? "dense8"
  }

  /// The table that ships for the target's architecture; nil when there is none.
  package static func shipped(for target: Target) throws(CompilerError) -> CostTable? {
    guard target.architecture == "x86_64" else { return nil }
    return try CostTable(
      yaml: String(decoding: PackageResources.x86_costs_yaml, as: UTF8.self), at: "the cost table x86")
  }
  package init(path: String) throws(CompilerError) {
    let file = try MappedFile(path: path)
    guard file.bytes.count < 1 << 22 else {
      throw CompilerError.malformed("a cost table has at most 4 MiB", at: path)
    }
    try self.init(yaml: String(decoding: file.contents, as: UTF8.self), at: path)
  }

  package init(yaml: String, at location: String) throws(CompilerError) {
    let node: Yams.Node?
    do { node = try Yams.compose(yaml: yaml) } catch {
      throw CompilerError.malformed("not YAML: \(error)", at: location)
    }
    guard let node, let mapping = node.mapping else {
      throw CompilerError.malformed("a cost table is a YAML mapping", at: location)
    }
    var problems: [Diagnostic] = []
    func kind(_ key: Yams.Node) -> Instruction.Convolution.Kind? {
      let found = CostTable.kinds.first { $0.name == key.string }?.kind
      if found == nil {
        let known = CostTable.kinds.map(\.name).joined(separator: ", ")
        problems.append(
          .error("'\(key.string ?? "?")' is no kind of kernel; there are \(known)", at: location))
      }
      return found
    }
    func number(_ node: Yams.Node?, _ what: String) -> Double {
      guard let value = node?.float, value.isFinite, value >= 0 else {
        problems.append(.error("\(what) must be a number that is not negative", at: location))
        return 1
      }
      return value
    }
    func rates(_ part: Yams.Node?) -> [Instruction.Convolution.Kind: Rate] {
      var result: [Instruction.Convolution.Kind: Rate] = [:]
      for (key, value) in part?.mapping ?? [:] {
        guard let kind = kind(key) else { continue }
        result[kind] = Rate(
          gops: max(number(value["gops"], "gops"), 1e-6), fixed: number(value["fixed"] ?? 0, "fixed"))
      }
      return result
    }
    for (key, _) in mapping
    where !["name", "processor", "activations", "rates", "products", "shapes"].contains(key.string) {
      problems.append(.error("a cost table has no key '\(key.string ?? "?")'", at: location))
    }
    name = node["name"]?.string ?? location
    processor = node["processor"]?.string ?? ""
    if let storage = node["activations"] {
      if !["bytes", "packed"].contains(storage.string) {
        problems.append(.error("'activations' must be bytes or packed", at: location))
      }
      packsActivations = storage.string == "packed"
    }
    self.rates = rates(node["rates"])
    productRates = rates(node["products"])
    for (key, value) in node["shapes"]?.mapping ?? [:] {
      var times: [Instruction.Convolution.Kind: Double] = [:]
      for (name, time) in value.mapping ?? [:] {
        if let kind = kind(name) { times[kind] = number(time, "a time") }
      }
      shapes[key.string ?? ""] = times
    }
    if !problems.isEmpty { throw CompilerError(problems, status: .malformedInput) }
  }

  /// Seconds of a layer; nil when the table knows neither its shape nor its kind.
  package func seconds(_ layer: SearchLayer, _ kind: Instruction.Convolution.Kind) -> Double? {
    if let time = shapes[layer.shape]?[kind] { return time * 1e-9 }
    guard let rate = (layer.isProduct ? productRates[kind] : nil) ?? rates[kind] else { return nil }
    return (rate.fixed + 2 * Double(layer.multiplyAccumulates) / rate.gops) * 1e-9
  }
}
