import ArgumentParser
import IR
import Importer
import PassKit
import Passes

struct PassesCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "passes", abstract: "List the passes with their options.",
    discussion: "Example: qcc passes; qcc passes calibrate; qcc passes --json")
  @Argument(help: "Only these passes.") var names: [String] = []
  @Flag(help: "Print JSON.") var json = false

  func validate() throws {
    for name in names where !allPasses.contains(where: { $0.name == name }) {
      throw ValidationError("there is no pass '\(name)'; 'qcc passes' lists them")
    }
  }
  func run() throws {
    let passes = allPasses.filter { names.isEmpty || names.contains($0.name) }
    if json {
      print(Json.array(passes.map(description)).text)
      return
    }
    for pass in passes {
      let stages = "\(pass.accepts.lowerBound.rawValue)…\(pass.accepts.upperBound.rawValue)"
      print("\(pass.name): \(pass.summary)  [\(stages)\(pass.produces.map { " → \($0.rawValue)" } ?? "")]")
      for option in pass.options {
        let value = option.defaultText.isEmpty ? "none" : option.defaultText
        print(
          "    \(option.name) = \(value)  (\(option.expectation))\(option.help.isEmpty ? "" : "  \(option.help)")"
        )
      }
    }
  }
  private func description(_ pass: Pass) -> Json {
    .object([
      ("name", .string(pass.name)), ("summary", .string(pass.summary)),
      (
        "accepts",
        .array([.string(pass.accepts.lowerBound.rawValue), .string(pass.accepts.upperBound.rawValue)])
      ),
      ("produces", pass.produces.map { .string($0.rawValue) } ?? .null),
      (
        "options",
        .array(
          pass.options.map {
            .object([
              ("name", .string($0.name)), ("default", .string($0.defaultText)),
              ("expects", .string($0.expectation)),
              ("help", .string($0.help)),
            ])
          })
      ),
    ])
  }
}

struct TargetsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "targets", abstract: "List the targets, or show one.",
    discussion: "Example: qcc targets; qcc targets arm-int4 > mine.yaml")
  @Argument(help: "Print the YAML of this target, a start for one's own.") var name: String?
  @Flag(help: "Print JSON.") var json = false

  func run() throws {
    if let name {
      let target = try Target.named(name)
      print(json ? description(target).text : target.source, terminator: json ? "\n" : "")
      return
    }
    let targets = try Target.names.map { try Target.named($0) }
    if json {
      print(Json.array(targets.map(description)).text)
    } else {
      var table = Table(["target", "weights", "activations", "summary"])
      for target in targets {
        table.add([
          target.name, "\(target.policy.weightBits) bits", "\(target.policy.activationBits) bits",
          target.summary,
        ])
      }
      print(table.text)
    }
  }
  private func description(_ target: Target) -> Json {
    .object([
      ("name", .string(target.name)), ("summary", .string(target.summary)),
      ("architecture", .string(target.architecture)),
      ("weight-forms", .array(target.weights.forms.map { .string($0.text) })),
      ("activation-forms", .array(target.activations.forms.map { .string($0.text) })),
      (
        "policy",
        .object([
          ("weights", .int(target.policy.weightBits)), ("activations", .int(target.policy.activationBits)),
          ("first", .int(target.policy.firstWeightBits)), ("last", .int(target.policy.lastWeightBits)),
          ("depthwise", .int(target.policy.depthwiseWeightBits)),
        ])
      ),
    ])
  }
}

struct OpsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ops",
    abstract: "List the ONNX operators that are read, and the operations of the graph text.",
    discussion: "Example: qcc ops; qcc ops --ir; qcc ops --json")
  @Flag(help: "List the operations of .qir instead.") var ir = false
  @Flag(help: "Print JSON.") var json = false

  func run() throws {
    if ir { return printFamilies() }
    if json {
      print(
        Json.array(
          OnnxOperator.all.map {
            .object([
              ("name", .string($0.name)), ("versions", .array($0.sinceVersions.map { .int($0) })),
              ("summary", .string($0.summary)),
            ])
          }
        ).text)
      return
    }
    var table = Table(["operator", "versions", "becomes"])
    for entry in OnnxOperator.all {
      table.add([entry.name, entry.sinceVersions.map(String.init).joined(separator: " "), entry.summary])
    }
    print(table.text)
    print(
      "\(OnnxOperator.all.count) operators, operator sets \(OnnxOperator.operatorSets.lowerBound) to \(OnnxOperator.operatorSets.upperBound)"
    )
  }

  private func printFamilies() {
    if json {
      print(
        Json.array(
          Op.families.map { family in
            .object([
              ("mnemonics", .array(family.mnemonics.map { .string($0) })),
              (
                "attributes",
                .array(
                  family.attributes.map {
                    .object([("name", .string($0.name)), ("expects", .string($0.expectation))])
                  })
              ),
            ])
          }
        ).text)
      return
    }
    for family in Op.families {
      print(family.mnemonics.joined(separator: ", "))
      for attribute in family.attributes { print("    \(attribute.name): \(attribute.expectation)") }
    }
  }
}
