import IR
import Numerics
import PassKit
import Support

package struct AssignOptions: PassOptions {
  package static let table: [Attribute<Self>] = [
    Attribute("target", \.target, help: "whose policy and limits apply; default: the one in the graph"),
    Attribute("weight-bits", \.weightBits, help: "weight width inside the network; 0: the target's policy"),
    Attribute("activation-bits", \.activationBits, help: "activation width; 0: the target's policy"),
    Attribute("pins", \.pins, help: "fixed widths of single layers, e.g. ['conv1.*=w8a8']"),
    Attribute("assignment", \.assignment, help: "a file that 'qcc search' wrote: forms of single sites"),
  ]
  package var target = ""
  package var weightBits = 0
  package var activationBits = 0
  package var pins: [String] = []
  package var assignment = ""
  package init() {}
}

/// Gives every quantizer one form: the target's policy, overridden by flags and pins.
///
///     quantize(%w) {forms = [8:channel:symmetric*, 4:channel:symmetric]}
///   ->
///     quantize(%w) {forms = [4:channel:symmetric*]}
///
/// Policy: interior layers take the interior width; the first, the last, depthwise layers and the smallest interior ones
/// (up to a share of all weights) keep their own, which flags can only raise and pins can change. Activations have the
/// interior width but for the network's inputs and what the last layer reads; a flag sets all of them. An assignment, the
/// file of a search, comes before policy and flags, a pin before that. A pin or an entry that matches nothing, or asks for
/// what the target forbids, is an error.
/// Calibrated parameters of the kept form are kept.
package let assign = Pass(
  "assign", "give every quantizer one form: policy, flags and pins", accepts: .elastic ... .elastic,
  produces: .assigned,
  options: AssignOptions.self
) { rewriter, context, options in
  let name = options.target.isEmpty ? rewriter.graph.metadata("target") ?? "generic-int8" : options.target
  let target = try Target.named(name)
  var problems: [Diagnostic] = []
  func check(_ bits: Int, _ legal: [Int], _ flag: String) {
    if bits != 0 && !legal.contains(bits) {
      problems.append(
        .error("\(flag) \(bits) is not legal on target '\(target.name)', which allows \(legal.sorted())"))
    }
  }
  check(options.weightBits, target.weights.bits, "--weight-bits")
  check(options.activationBits, target.activations.bits, "--activation-bits")
  var pins = options.pins.compactMap { text -> Pin? in
    if let pin = Pin(text: text) { return pin }
    problems.append(
      .error("'\(text)' is not a pin; write 'name=w8a8', 'name=w4' or 'name=a8', where * matches any text"))
    return nil
  }

  let quantizers = rewriter.graph.quantizers
  var assigned: [OpID: Int] = [:]
  if !options.assignment.isEmpty {
    let forms = try AssignmentFile(path: options.assignment).forms(
      for: quantizers.map(\.quantizer), at: options.assignment)
    for (site, form) in zip(quantizers, forms) { assigned[site.id] = form }
  }
  let weighted = rewriter.graph.weightedOps
  let small = smallLayers(rewriter.graph, weighted, share: target.policy.smallShare)
  for id in rewriter.ops {
    guard case .quantize(let quantizer) = rewriter.graph[id].op else { continue }
    let role = quantizer.role == .weight ? target.weights : target.activations
    // A quantizer that insert-quantizers left one form has no choice but that.
    var form = assigned[id] ?? (quantizer.forms.all.count == 1 ? 0 : nil)
    var bits =
      quantizer.role == .weight
      ? policyBits(id, rewriter.graph, weighted, small, target, options)
      : (options.activationBits == 0
        ? activationPolicyBits(id, rewriter.graph, weighted, target) : options.activationBits)
    for index in pins.indices where pins[index].matches(quantizer.site, quantizer.role) {
      guard let pinned = quantizer.role == .weight ? pins[index].weightBits : pins[index].activationBits
      else { continue }
      pins[index].matchCount += 1
      if role.bits.contains(pinned) {
        bits = pinned
        form = nil
      } else {
        problems.append(
          .error(
            "pin '\(pins[index].text)': \(pinned) bits are not legal on target '\(target.name)', which allows \(role.bits.sorted())"
          ))
      }
    }
    guard let index = form ?? quantizer.forms.all.firstIndex(where: { $0.width == .bits(bits) }) else {
      problems.append(
        .error(
          "\(bits) bits are not among the forms of this quantizer: \(quantizer.forms.text)",
          at: quantizer.site))
      continue
    }
    try keep(index, of: id, &rewriter)
    let width = quantizer.forms.all[index].width.storageBits
    rewriter.count("\(quantizer.role.rawValue)s at \(width) bits")
  }
  for pin in pins where pin.matchCount == 0 {
    problems.append(.error("pin '\(pin.text)' matches no quantizer; `qcc inspect` lists their names"))
  }
  if !problems.isEmpty { throw CompilerError(problems) }
}

/// The policy's width for the weight quantizer `id`.
private func policyBits(
  _ id: OpID, _ graph: Graph, _ weighted: [OpID], _ small: Set<OpID>, _ target: Target,
  _ options: AssignOptions
) -> Int {
  let interior = options.weightBits == 0 ? target.policy.weightBits : options.weightBits
  guard let user = graph.uses(of: graph[id].results[0]).first?.user else { return interior }
  if user == weighted.first { return max(target.policy.firstWeightBits, options.weightBits) }
  if user == weighted.last { return max(target.policy.lastWeightBits, options.weightBits) }
  if case .conv2d(let conv) = graph[user].op, conv.groups > 1,
    graph[graph[id].operands[0]].type.shape.size(1) == 1
  {
    return max(target.policy.depthwiseWeightBits, options.weightBits)
  }
  return small.contains(user) ? max(target.policy.smallWeightBits, interior) : interior
}

/// The policy's width for the activation quantizer `id`.
private func activationPolicyBits(_ id: OpID, _ graph: Graph, _ weighted: [OpID], _ target: Target) -> Int {
  if graph.inputs.contains(graph[id].operands[0]) { return target.policy.firstActivationBits }
  if let last = weighted.last, graph.activationQuantizer(of: graph[last].operands[0]) == id {
    return target.policy.lastActivationBits
  }
  return target.policy.activationBits
}

/// The smallest interior layers that together hold at most `share` of all weights; depthwise ones have their own rule.
private func smallLayers(_ graph: Graph, _ weighted: [OpID], share: Double) -> Set<OpID> {
  func count(_ id: OpID) -> Int { graph[graph[id].operands[1]].type.shape.elementCount ?? 0 }
  func isDepthwise(_ id: OpID) -> Bool {
    if case .conv2d(let conv) = graph[id].op {
      conv.groups > 1 && graph[graph[id].operands[1]].type.shape.size(1) == 1
    } else {
      false
    }
  }
  var left = Double(weighted.reduce(0) { $0 + count($1) }) * share
  var result: Set<OpID> = []
  for id in weighted.dropFirst().dropLast().filter({ !isDepthwise($0) }).sorted(by: {
    (count($0), $0) < (count($1), $1)
  }) {
    left -= Double(count(id))
    guard left >= 0 else { break }
    result.insert(id)
  }
  return result
}

/// Keeps form `index` of a quantizer and its parameters.
func keep(_ index: Int, of id: OpID, _ rewriter: inout Rewriter) throws(VerificationError) {
  let node = rewriter.graph[id]
  guard case .quantize(var quantizer) = node.op,
    quantizer.forms.all.count > 1 || quantizer.forms.currentIndex != index
  else { return }
  let operands =
    node.operands.count == 1
    ? node.operands : [node.operands[0], node.operands[1 + 2 * index], node.operands[2 + 2 * index]]
  quantizer.forms = FormSet([quantizer.forms.all[index]])
  try rewriter.replace(id, with: .quantize(quantizer), operands)
}

/// `pattern=w8a8`: fixed widths of the layers whose name matches.
struct Pin {
  var text: String
  var pattern: Substring
  var weightBits: Int?
  var activationBits: Int?
  var matchCount = 0

  init?(text: String) {
    self.text = text
    guard let equals = text.lastIndex(of: "="), equals != text.startIndex else { return nil }
    pattern = text[..<equals]
    var rest = text[text.index(after: equals)...]
    func number() -> Int? {
      let digits = rest.dropFirst().prefix { $0.isNumber }
      rest = rest.dropFirst(1 + digits.count)
      return Int(digits)
    }
    if rest.first == "w" {
      guard let bits = number() else { return nil }
      weightBits = bits
    }
    if rest.first == "a" {
      guard let bits = number() else { return nil }
      activationBits = bits
    }
    guard rest.isEmpty, weightBits != nil || activationBits != nil else { return nil }
  }

  /// A weight site is matched by its layer's name, with or without `.weight`.
  func matches(_ site: String, _ role: Quantize.Role) -> Bool {
    let layer = role == .weight && site.hasSuffix(".weight") ? site.dropLast(7) : Substring(site)
    return globMatches(pattern, layer) || globMatches(pattern, Substring(site))
  }
}

/// Whether `text` matches `pattern`, in which `*` stands for any text.
func globMatches(_ pattern: Substring, _ text: Substring) -> Bool {
  let parts = pattern.split(separator: "*", omittingEmptySubsequences: false)
  guard parts.count > 1, let first = parts.first, let last = parts.last else { return pattern == text }
  guard text.hasPrefix(first) else { return false }
  var rest = text.dropFirst(first.count)
  for part in parts.dropFirst().dropLast() {
    guard !part.isEmpty else { continue }
    guard let range = rest.firstRange(of: part) else { return false }
    rest = rest[range.upperBound...]
  }
  return rest.count >= last.count && rest.hasSuffix(last)
}
