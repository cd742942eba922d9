import Foundation
import IR
import PassKit
import Passes
import Support
import Testing

@Suite struct GoldenTests {
  @Test(arguments: Golden.all)
  func passesRewriteAsTheirGoldensSay(_ golden: Golden) throws {
    let parts = try golden.read()
    let actual = try golden.run(parts)
    guard !golden.matches(parts.expected, actual) else { return }
    if Golden.isBlessing {
      try writeFile(golden.path, parts.head + actual)
    } else {
      Issue.record("\(golden.path) (make bless accepts this):\n\(lineDifference(parts.expected, actual))")
    }
  }

  /// What a pass says about itself must be where readers look for it.
  @Test(arguments: allPasses.map(\.name))
  func everyPassHasItsFileItsPictureAndAGolden(_ name: String) throws {
    let camel = name.split(separator: "-").map { $0.prefix(1).uppercased() + $0.dropFirst() }.joined()
    let source = try String(contentsOfFile: "\(Golden.packageRoot)/passes/\(camel).swift", encoding: .utf8)
    #expect(source.contains("\"\(name)\""), "passes/\(camel).swift does not define '\(name)'")
    let hasPicture = source.split(separator: "\n").contains { $0.hasPrefix("///") && $0.contains("->") }
    #expect(hasPicture, "the doc comment in passes/\(camel).swift shows no graph before and after '->'")
    let expectations = try Golden.all.filter { $0.folder == name }.map { try $0.read().expected }
    let negative = expectations.filter { $0.hasPrefix("unchanged") || $0.hasPrefix("error:") }
    #expect(negative.count < expectations.count, "no golden in passes/tests/\(name) shows what the pass does")
    #expect(!negative.isEmpty, "no golden in passes/tests/\(name) shows what the pass leaves alone")
  }

  @Test func everyGoldenFolderBelongsToAPass() {
    let unknown = Golden.folders.filter { folder in !allPasses.contains { $0.name == folder } }
    #expect(unknown.isEmpty)
  }
}
