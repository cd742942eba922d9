import IR
import Numerics
import Support
import Yams

/// One form for every quantizer of a network, as a JSON file for people and for `qcc compile --assignment`.
///
///     {"format": "qcc-assignment-1", "target": "x86-int4", "model": "1f…", "sites": [
///       {"site": "conv1.weight", "role": "weight", "bits": 8, "granularity": "channel", "symmetry": "symmetric", "score": 0.1},
package struct AssignmentFile: Hashable, Sendable {
  package struct Entry: Hashable, Sendable {
    package var site: String
    package var role: Quantize.Role
    package var form: QuantizationForm
    /// What the search measured; nil for sites that were not searched.
    package var score: Double?

    package init(site: String, role: Quantize.Role, form: QuantizationForm, score: Double?) {
      (self.site, self.role, self.form, self.score) = (site, role, form, score)
    }
  }
  package static let format = "qcc-assignment-1"
  package var target: String
  /// The `source-hash` of the model; empty when it is not known.
  package var model: String
  /// What was asked for, in order: `avg-bits` → `4`.
  package var notes: [(key: String, text: String)] = []
  package var entries: [Entry]

  package init(target: String, model: String, entries: [Entry]) {
    self.target = target
    self.model = model
    self.entries = entries
  }
  package static func == (a: AssignmentFile, b: AssignmentFile) -> Bool {
    a.target == b.target && a.model == b.model && a.entries == b.entries
  }
  package func hash(into hasher: inout Hasher) { hasher.combine(entries) }

  package var text: String {
    var lines = ["{\"format\": \(Self.format.quotedText),"]
    lines.append(" \"target\": \(target.quotedText), \"model\": \(model.quotedText),")
    if !notes.isEmpty {
      let members = notes.map { "\($0.key.quotedText): \($0.text.quotedText)" }
      lines.append(" \"search\": {\(members.joined(separator: ", "))},")
    }
    lines.append(" \"sites\": [")
    for (index, entry) in entries.enumerated() {
      let parts = entry.form.text.split(separator: ":").map(String.init)
      let bits = Int(parts[0]).map { "\($0)" } ?? parts[0].quotedText
      let score = entry.score.map { ", \"score\": \($0)" } ?? ""
      lines.append(
        "  {\"site\": \(entry.site.quotedText), \"role\": \"\(entry.role.rawValue)\", \"bits\": \(bits), "
          + "\"granularity\": \"\(parts[1])\", \"symmetry\": \"\(parts[2])\"\(score)}"
          + (index + 1 < entries.count ? "," : ""))
    }
    return (lines + [" ]", "}"]).joined(separator: "\n") + "\n"
  }

  package init(path: String) throws(CompilerError) {
    let file = try MappedFile(path: path)
    guard file.bytes.count < 1 << 24 else {
      throw CompilerError.malformed("an assignment has at most 16 MiB", at: path)
    }
    try self.init(text: String(decoding: file.contents, as: UTF8.self), at: path)
  }

  package init(text: String, at location: String) throws(CompilerError) {
    let node: Yams.Node?
    do { node = try Yams.compose(yaml: text) } catch {
      throw CompilerError.malformed("not JSON: \(error)", at: location)
    }
    guard let node, node["format"]?.string == Self.format, let list = node["sites"]?.sequence else {
      throw CompilerError.malformed(
        "not an assignment: it needs \"format\": \"\(Self.format)\" and \"sites\"", at: location)
    }
    target = node["target"]?.string ?? ""
    model = node["model"]?.string ?? ""
    entries = []
    var problems: [Diagnostic] = []
    for (index, part) in list.enumerated() {
      let form = ["bits", "granularity", "symmetry"].map { part[$0]?.scalar?.string ?? "" }
      guard let site = part["site"]?.scalar?.string,
        let role = Quantize.Role(rawValue: part["role"]?.string ?? ""),
        let form = QuantizationForm(text: form.joined(separator: ":"))
      else {
        problems.append(
          .error(
            "entry \(index + 1) of \"sites\" needs a site, a role (weight or activation), bits, granularity and symmetry",
            at: location))
        continue
      }
      entries.append(Entry(site: site, role: role, form: form, score: part["score"]?.float))
    }
    if !problems.isEmpty { throw CompilerError(problems, status: .malformedInput) }
  }

  /// For every quantizer of a graph the index of its form; nil where the file says nothing. Quantizers of one name take
  /// their entries in order.
  /// - Throws: with every entry that matches no quantizer, or whose form it does not have.
  func forms(for quantizers: [Quantize], at location: String) throws(CompilerError) -> [Int?] {
    struct Key: Hashable {
      var site: String
      var role: Quantize.Role
    }
    var waiting: [Key: [Entry]] = [:], problems: [Diagnostic] = []
    for entry in entries.reversed() {
      waiting[Key(site: entry.site, role: entry.role), default: []].append(entry)
    }
    let result = quantizers.map { quantizer -> Int? in
      guard let entry = waiting[Key(site: quantizer.site, role: quantizer.role)]?.popLast() else {
        return nil
      }
      let index = quantizer.forms.all.firstIndex(of: entry.form)
      if index == nil {
        problems.append(
          .error(
            "the form \(entry.form.text) of '\(entry.site)' is not among those of the quantizer: \(quantizer.forms.text)",
            at: location))
      }
      return index
    }
    for entry in entries where waiting[Key(site: entry.site, role: entry.role)]?.isEmpty == false {
      waiting[Key(site: entry.site, role: entry.role)] = []
      problems.append(
        .error(
          "the network has no \(entry.role.rawValue) quantizer '\(entry.site)'", at: location,
          notes: ["the assignment is of another model, or was made with other options"]))
    }
    if !problems.isEmpty { throw CompilerError(Array(problems.prefix(10)), status: .rejected) }
    return result
  }
}
