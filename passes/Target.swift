import IR
import Numerics
import Support
import Yams

/// What a deployment target can run and how it wants networks quantized: a YAML file under `passes/targets`, or the user's own.
package struct Target: Sendable {
  /// The legal forms of one role; the first entry of each list is preferred.
  package struct Legality: Sendable {
    package var bits: [Int]
    package var granularities: [Granularity]
    package var symmetries: [Symmetry]

    package var forms: [QuantizationForm] {
      bits.flatMap { bits in
        granularities.flatMap { granularity in
          symmetries.map { QuantizationForm(.bits(bits), granularity, $0) }
        }
      }
    }
  }
  /// The default widths; a missing one is that of the interior.
  package struct Policy: Sendable {
    package var weightBits: Int
    package var activationBits: Int
    /// What the inputs of the network have, and what the last layer with weights reads.
    package var firstActivationBits: Int
    package var lastActivationBits: Int
    package var firstWeightBits: Int
    package var lastWeightBits: Int
    package var depthwiseWeightBits: Int
    /// The width of the smallest interior layers, as many as together hold at most `smallShare` of all weights.
    package var smallWeightBits: Int
    package var smallShare: Double
  }
  package var name: String
  package var summary: String
  package var architecture: String
  package var weights: Legality
  package var activations: Legality
  package var policy: Policy
  /// The YAML this was read from, embedded into programs.
  package var source: String

  private static let embedded: [(name: String, bytes: [UInt8])] = [
    ("generic-int8", PackageResources.generic_int8_yaml), ("x86-int8", PackageResources.x86_int8_yaml),
    ("x86-int4", PackageResources.x86_int4_yaml), ("x86-int2", PackageResources.x86_int2_yaml),
    ("x86-binary", PackageResources.x86_binary_yaml), ("elastic", PackageResources.elastic_yaml),
    ("arm-int8", PackageResources.arm_int8_yaml),
    ("arm-int4", PackageResources.arm_int4_yaml),
  ]
  /// The names of the targets that ship with qcc, in the order of `qcc targets`.
  package static let names = embedded.map(\.name)

  /// A target by name, or from a YAML file when `nameOrPath` ends in .yaml or .yml.
  package static func named(_ nameOrPath: String) throws(CompilerError) -> Target {
    if let entry = embedded.first(where: { $0.name == nameOrPath }) {
      return try Target(yaml: String(decoding: entry.bytes, as: UTF8.self), at: "target \(nameOrPath)")
    }
    guard nameOrPath.hasSuffix(".yaml") || nameOrPath.hasSuffix(".yml") else {
      throw CompilerError(
        "unknown target '\(nameOrPath)'; there are \(names.joined(separator: ", ")), or give a .yaml file",
        status: .usage)
    }
    let file = try MappedFile(path: nameOrPath)
    guard file.bytes.count < 1 << 20 else {
      throw CompilerError.malformed("a target file has at most 1 MiB", at: nameOrPath)
    }
    return try Target(yaml: String(decoding: file.contents, as: UTF8.self), at: nameOrPath)
  }

  package init(yaml: String, at location: String) throws(CompilerError) {
    let node: Yams.Node?
    do { node = try Yams.compose(yaml: yaml) } catch {
      throw CompilerError.malformed("not YAML: \(error)", at: location)
    }
    guard let node, node.mapping != nil else {
      throw CompilerError.malformed("a target is a YAML mapping", at: location)
    }
    var reader = TargetReader(location: location)
    reader.checkKeys(
      node, ["name", "summary", "architecture", "weights", "activations", "policy", "numerics"], "the target")
    name = reader.text(node, "name")
    summary = reader.text(node, "summary")
    architecture = reader.oneOf(node, "architecture", ["any", "x86_64", "aarch64"])
    weights = reader.legality(node, "weights")
    activations = reader.legality(node, "activations")
    policy = reader.policy(node, weights: weights, activations: activations)
    reader.checkNumerics(node)
    source = yaml
    if !reader.problems.isEmpty { throw CompilerError(reader.problems, status: .malformedInput) }
  }
}

/// Reads the parts of a target file and collects everything that is wrong with them.
private struct TargetReader {
  let location: String
  var problems: [Diagnostic] = []

  mutating func fail(_ message: String) { problems.append(.error(message, at: location)) }

  mutating func checkKeys(_ node: Yams.Node, _ known: [String], _ what: String) {
    for (key, _) in node.mapping ?? [:] {
      let name = key.string ?? "?"
      if !known.contains(name) {
        fail("\(what) has no key '\(name)'; it has \(known.joined(separator: ", "))")
      }
    }
  }
  mutating func text(_ node: Yams.Node, _ key: String) -> String {
    guard let text = node[key]?.string, !text.isEmpty else {
      fail("the key '\(key)' is missing")
      return ""
    }
    return text
  }
  mutating func oneOf(_ node: Yams.Node, _ key: String, _ known: [String]) -> String {
    let value = text(node, key)
    if !value.isEmpty && !known.contains(value) {
      fail("'\(key)' must be one of \(known.joined(separator: ", ")), not '\(value)'")
    }
    return value
  }
  mutating func legality(_ node: Yams.Node, _ key: String) -> Target.Legality {
    var result = Target.Legality(bits: [8], granularities: [.tensor], symmetries: [.symmetric])
    guard let part = node[key], part.mapping != nil else {
      fail("the mapping '\(key)' is missing")
      return result
    }
    checkKeys(part, ["bits", "granularity", "symmetry"], "'\(key)'")
    let bits = part["bits"]?.sequence.map { Array($0).compactMap(\.int) } ?? []
    if bits.isEmpty || bits.count != part["bits"]?.sequence?.count
      || !bits.allSatisfy({ (1...8).contains($0) })
    {
      fail("'\(key).bits' must list widths from 1 to 8")
    } else {
      result.bits = bits
    }
    let granularities = words(part["granularity"]).map {
      $0 == "tensor" ? Granularity.tensor : $0 == "channel" ? .channel : nil
    }
    if granularities.isEmpty || granularities.contains(nil)
      || (key == "activations" && granularities != [.tensor])
    {
      fail("'\(key).granularity' must list \(key == "weights" ? "channel, tensor or both" : "tensor alone")")
    } else {
      result.granularities = granularities.compactMap { $0 }
    }
    let symmetries = words(part["symmetry"]).map {
      $0 == "symmetric" ? Symmetry.symmetric : $0 == "asymmetric" ? .asymmetric : nil
    }
    if symmetries.isEmpty || symmetries.contains(nil) {
      fail("'\(key).symmetry' must list symmetric, asymmetric or both")
    } else {
      result.symmetries = symmetries.compactMap { $0 }
    }
    return result
  }
  private func words(_ node: Yams.Node?) -> [String] {
    node?.sequence.map { Array($0).compactMap(\.string) } ?? []
  }

  mutating func policy(
    _ node: Yams.Node, weights: Target.Legality, activations: Target.Legality
  ) -> Target.Policy {
    let part = node["policy"]
    if let part { checkKeys(part, ["interior", "first", "last", "depthwise", "small"], "'policy'") }
    func bits(
      _ place: String, _ role: String, default value: Int, _ legal: [Int], _ problems: inout [Diagnostic]
    ) -> Int {
      guard let entry = part?[place]?[role] else { return value }
      guard let bits = entry.int, legal.contains(bits) else {
        problems.append(
          .error("'policy.\(place).\(role)' must be one of the legal widths \(legal)", at: location))
        return value
      }
      return bits
    }
    let interior = bits("interior", "weights", default: weights.bits[0], weights.bits, &problems)
    let interiorActivations = bits(
      "interior", "activations", default: activations.bits[0], activations.bits, &problems)
    let share = part?["small"]?["share"]
    if let share, share.float.map({ !(0...1).contains($0) }) ?? true {
      fail("'policy.small.share' must be a number from 0 to 1")
    }
    return Target.Policy(
      weightBits: interior,
      activationBits: interiorActivations,
      firstActivationBits: bits(
        "first", "activations", default: interiorActivations, activations.bits, &problems),
      lastActivationBits: bits(
        "last", "activations", default: interiorActivations, activations.bits, &problems),
      firstWeightBits: bits("first", "weights", default: interior, weights.bits, &problems),
      lastWeightBits: bits("last", "weights", default: interior, weights.bits, &problems),
      depthwiseWeightBits: bits("depthwise", "weights", default: interior, weights.bits, &problems),
      smallWeightBits: bits("small", "weights", default: interior, weights.bits, &problems),
      smallShare: share?.float ?? 0)
  }
  mutating func checkNumerics(_ node: Yams.Node) {
    guard let part = node["numerics"] else { return }
    checkKeys(part, ["accumulator", "requantization"], "'numerics'")
    if let bits = part["accumulator"], bits.int != 32 { fail("'numerics.accumulator' must be 32") }
    if let mode = part["requantization"]?.string, mode != "single-rounding-64" {
      fail("'numerics.requantization' must be single-rounding-64")
    }
  }
}
